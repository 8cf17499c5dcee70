"""The state of a constraint of llguidance; another thread computes its masks while a step is computed."""

import atexit
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import perf_counter
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

import attrs

from litgpt.domain.constraints.token_constraint import allow, exclude
from litgpt.domain.generation.errors import ConstraintFailed

if TYPE_CHECKING:
    from llguidance import LLMatcher

_FINISHED = ("NoExtension", "EndOfSentence")
_EXPENSIVE = 150e-6
"""Seconds: a mask that takes less, as most of those of JSON, is not worth waking another thread."""
_IDLE_SECONDS = 10.0
"""After so long without masks, the thread ends; the next mask starts another."""


@attrs.define(eq=False)
class MaskThread:
    """A thread that computes masks before they are needed; llguidance releases the GIL meanwhile.

    It may be late, or end with a fork of the process: who needs a mask that is not begun computes it.
    """

    _queue: "SimpleQueue[LlguidanceConstraint | None]" = attrs.field(
        factory=SimpleQueue, init=False, repr=False
    )
    _thread: Thread | None = attrs.field(default=None, init=False, repr=False)

    def compute(self, constraint: "LlguidanceConstraint") -> None:
        """Compute the next mask of a constraint soon."""
        self._queue.put(constraint)
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=_compute_masks, args=(self._queue,), daemon=True, name="masks")
            self._thread.start()
            _started.add(self)

    def stop(self) -> None:
        """End the thread, after the mask that it computes."""
        while not self._queue.empty():
            self._queue.get()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()


_started: WeakSet[MaskThread] = WeakSet()


@atexit.register
def _stop_all() -> None:
    """End all threads: one that returns from llguidance while the interpreter ends would crash it."""
    for masks in list(_started):
        masks.stop()


def _compute_masks(queue: "SimpleQueue[LlguidanceConstraint | None]") -> None:
    with suppress(Empty):
        while (constraint := queue.get(timeout=_IDLE_SECONDS)) is not None:
            constraint.prepare()


@attrs.define(eq=False)
class LlguidanceConstraint:
    """Implements `TokenConstraint`.

    If its last mask took long, another thread begins with the next one as soon as it is known that no token
    is forced.

    Attributes:
        end_id: An id beyond the vocabulary, which stands for all stop tokens.
    """

    _matcher: "LLMatcher" = attrs.field(repr=False)
    end_id: int
    stop_token_ids: frozenset[int]
    _thread: MaskThread = attrs.field(repr=False)
    _seconds: float = attrs.field(default=0.0, init=False, repr=False)
    _mask: bytes | None = attrs.field(default=None, init=False, repr=False)
    _lock: Lock = attrs.field(factory=Lock, init=False, repr=False)

    @property
    def is_finished(self) -> bool:
        with self._lock:
            return self._matcher.stop_reason() in _FINISHED

    def mask(self) -> bytes:
        mask = self.prepare()
        with self._lock:
            if self._matcher.is_error():
                raise ConstraintFailed(self._matcher.get_error().partition("\n")[0])
        if mask[self.end_id >> 3] >> (self.end_id & 7) & 1:
            return allow(exclude(mask, (self.end_id,)), self.stop_token_ids)
        return mask

    def prepare(self) -> bytes:
        """Compute the mask of llguidance, unless that is done; any thread may."""
        with self._lock:
            if self._mask is None:
                start = perf_counter()
                self._mask = self._matcher.compute_bitmask()
                self._seconds = perf_counter() - start
            return self._mask

    def forced(self) -> Sequence[int]:
        with self._lock:
            tokens: list[int] = self._matcher.compute_ff_tokens()
        if not tokens and self._seconds > _EXPENSIVE:
            self._thread.compute(self)
        return tokens

    def advance(self, token: int) -> None:
        with self._lock:
            self._mask = None
            if token not in self.stop_token_ids:
                self._matcher.consume_token(token)

    def copy(self) -> Self:
        with self._lock:
            return attrs.evolve(self, matcher=self._matcher.deep_copy())
