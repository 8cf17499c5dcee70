"""A generator for several threads: each answer is computed with the weights with which it began."""

import time
import weakref
from collections.abc import Callable, Iterator, Sequence

import attrs

from litgpt.application.concurrency.model_lock import ModelLease, ModelLock, this_thread
from litgpt.domain.generation.errors import ModelClosed, WeightsReplaced, WorkerLost
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.ports import Generation, Generator, PrefixCache


@attrs.frozen
class SharedGenerator:
    """Generates with a model that other threads may use and change.

    Attributes:
        lock: The model's lock.
        current_generator: Returns what generates with the model as it is now.
        weights_version: Returns what changes when weights are changed in place, without the lock.

    """

    lock: ModelLock
    current_generator: Callable[[], Generator]
    weights_version: Callable[[], object] = lambda: None

    @property
    def context(self) -> int:
        """How many tokens a prompt and its answer may have together."""
        with self.lock.using():
            return self.current_generator().context

    def prefix_cache(self) -> PrefixCache:
        """Return an empty cache."""
        with self.lock.using():
            return self.current_generator().prefix_cache()

    def generate(
        self, requests: Sequence[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> Generation:
        """Continue prompts; see the port.

        The answer begins with its first event: until then the model may be changed.
        """
        with self.lock.using():
            generation = self.current_generator().generate(requests, prefix=prefix)
            return _SharedGeneration(self, generation, self.lock.version, requests, prefix)


class _SharedGeneration(Iterator[TokenEvent]):
    """The tokens of one or several answers, which hold the model from the first to the last."""

    def __init__(
        self,
        shared: SharedGenerator,
        generation: Generation,
        version: int,
        requests: Sequence[GenerationRequest],
        prefix: PrefixCache | None,
    ) -> None:
        self._shared, self._version = shared, version
        self._generation: Generation | None = generation
        self._asked = requests, prefix
        self._cancelled: list[int] = []
        self._hold: ModelLease | None = None
        self._weights: object = None

    def __next__(self) -> TokenEvent:
        if self._hold is None:
            self._hold = self._begin()
        self._hold.thread = this_thread()
        try:
            with self._hold.step:
                return self._event(self._hold)
        except BaseException as error:  # it is over, or it failed: either way nothing more comes
            self.close()
            if isinstance(error, WorkerLost):
                self._shared.lock.release_all()
            raise

    def _event(self, hold: ModelLease) -> TokenEvent:
        if hold.ended:
            raise ModelClosed
        if self._generation is None:
            raise StopIteration
        try:
            event = next(self._generation)
        finally:
            hold.started = time.monotonic()
        if self._shared.weights_version() != self._weights:
            raise WeightsReplaced
        return event

    def cancel(self, index: int) -> None:
        """End one answer."""
        self._cancelled.append(index)
        if self._generation is not None:
            self._generation.cancel(index)

    def close(self) -> None:
        """End all answers and free their memory."""
        self._free()
        if self._hold is not None:
            self._shared.lock.release(self._hold)

    def __del__(self) -> None:
        self.close()

    def _begin(self) -> ModelLease:
        """Hold the model, and ask anew if it was changed since it was asked."""
        hold = self._shared.lock.acquire()
        try:
            self._weights = self._shared.weights_version()
            if self._generation is not None and self._shared.lock.version != self._version:
                self._free()
                requests, prefix = self._asked
                self._generation = self._shared.current_generator().generate(requests, prefix=prefix)
                for index in self._cancelled:
                    self._generation.cancel(index)
            abandon = weakref.WeakMethod(self._free)
            hold.abandon = lambda: (free := abandon()) and free()
        except BaseException:
            self._shared.lock.release(hold)
            raise
        return hold

    def _free(self) -> None:
        if self._generation is not None:
            self._generation.close()
            self._generation = None
