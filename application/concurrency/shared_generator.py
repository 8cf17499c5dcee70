"""A thread-safe generator: each answer is computed with one set of weights."""

import time
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import attrs

from litgpt.application.concurrency.model_lock import ModelLease, ModelLock, this_thread
from litgpt.domain.generation.errors import ModelClosed, WeightsReplaced, WorkerLost
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.ports import Generation, Generator

if TYPE_CHECKING:
    from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
    from litgpt.domain.scheduling.engine import Engine
    from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores

T = TypeVar("T")


@attrs.frozen
class SharedGenerator:
    """Generates with a model that other threads may use and change.

    `weights_version` returns a value that changes when weights change in place, without the lock.
    """

    lock: ModelLock
    current_generator: Callable[[], Generator]
    weights_version: Callable[[], object] = lambda: None

    @property
    def context(self) -> int:
        with self.lock.using():
            return self.current_generator().context

    def max_decode_speed(self) -> float | None:
        with self.lock.using():
            return self.current_generator().max_decode_speed()

    def open(self) -> "Engine":
        with self.lock.using():
            return self.current_generator().open()

    def generate(self, requests: Iterable[GenerationRequest | None]) -> Generation:
        """Generate answers; the lock is held from the first event on."""
        with self.lock.using():
            generation = self.current_generator().generate(requests)
            return _SharedGeneration(self, generation, self.lock.version, requests)

    def score(self, requests: "Sequence[ScoringRequest]") -> "list[TokenScores]":
        return self._compute(lambda generator: generator.score(requests))

    def embed(self, sequences: Sequence[Sequence[int]], pooling: "Pooling") -> "list[array[float]]":
        return self._compute(lambda generator: generator.embed(sequences, pooling))

    def beam_search(self, requests: "Sequence[BeamSearchRequest]") -> "list[list[Beam]]":
        return self._compute(lambda generator: generator.beam_search(requests))

    def _compute(self, results: Callable[[Generator], T]) -> T:
        """Return results; the lock is held until all of them are computed."""
        with self.lock.using():
            weights = self.weights_version()
            computed = results(self.current_generator())
            if self.weights_version() != weights:
                raise WeightsReplaced
            return computed


class _SharedGeneration(Iterator[TokenEvent]):
    """A generation that holds the lock from its first event to its last."""

    def __init__(
        self,
        shared: SharedGenerator,
        generation: Generation,
        version: int,
        requests: Iterable[GenerationRequest | None],
    ) -> None:
        self._shared, self._version = shared, version
        self._generation: Generation | None = generation
        self._requests = requests
        self._cancelled: list[int] = []
        self._lease: ModelLease | None = None
        self._weights: object = None

    def __next__(self) -> TokenEvent:
        if self._lease is None:
            self._lease = self._begin()
        self._lease.thread = this_thread()
        try:
            with self._lease.step:
                return self._event(self._lease)
        except BaseException as error:  # including StopIteration
            self.close()
            if isinstance(error, WorkerLost):
                self._shared.lock.release_all()
            raise

    def _event(self, lease: ModelLease) -> TokenEvent:
        if lease.ended:
            raise ModelClosed
        if self._generation is None:
            raise StopIteration
        try:
            event = next(self._generation)
        finally:
            lease.started = time.monotonic()
        if self._shared.weights_version() != self._weights:
            raise WeightsReplaced
        return event

    def cancel(self, index: int) -> None:
        if self._lease is None:
            self._cancelled.append(index)
        generation = self._generation  # another thread may close it
        if generation is not None:
            generation.cancel(index)

    def close(self) -> None:
        self._free()
        if self._lease is not None:
            self._shared.lock.release(self._lease)

    def __del__(self) -> None:
        self.close()

    def _begin(self) -> ModelLease:
        """Acquire the lock, and restart the generation if the model has changed since the request."""
        lease = self._shared.lock.acquire()
        try:
            self._weights = self._shared.weights_version()
            if self._generation is not None and self._shared.lock.version != self._version:
                self._free()
                self._generation = self._shared.current_generator().generate(self._requests)
                for index in self._cancelled:
                    self._generation.cancel(index)
            abandon = weakref.WeakMethod(self._free)
            lease.abandon = lambda: (free := abandon()) and free()
        except BaseException:
            self._shared.lock.release(lease)
            raise
        return lease

    def _free(self) -> None:
        if self._generation is not None:
            self._generation.close()
            self._generation = None
