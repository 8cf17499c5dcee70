"""The engine: requests join and leave a running batch."""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import attrs

from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.generation.request import FinishReason, GenerationRequest, TokenEvent
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.scheduling.page_table import PageTable
from litgpt.domain.scheduling.prefix_store import MIN_SHARED, CachedPrefix, PrefixStore
from litgpt.domain.scheduling.scheduler import Scheduler, StepLimits
from litgpt.domain.scheduling.sequence import ScheduledSequence

LogitsT = TypeVar("LogitsT")
"""The logits of a step, (B, V), on the device of the model runner."""


class ModelRunner(Protocol[LogitsT]):
    """Computes the steps that an engine schedules. `Any` stands for its sequences."""

    @property
    def limits(self) -> StepLimits: ...

    @property
    def num_pages(self) -> int:
        """The pages of `page_size` tokens that running sequences and cached prefixes may take."""
        ...

    @property
    def page_size(self) -> int: ...

    @property
    def max_cached_pages(self) -> int:
        """The pages of cached prefixes; 0: `fork` is not supported."""
        ...

    @property
    def can_truncate(self) -> bool:
        """Whether `fork` returns a prefix of any length; otherwise only all tokens of a sequence."""
        ...

    def sharing_key(self, length: int) -> Hashable:
        """Return a key that sequences have in common if they can share a prefix; None: they cannot.

        Args:
            length: The largest number of tokens of the sequence.
        """
        ...

    def sampler_state(self, request: GenerationRequest) -> SamplerState: ...

    def new_sequence(self, length: int) -> Any:
        """Return an empty sequence of at most `length` tokens."""
        ...

    def fork(self, sequence: Any, length: int) -> Any:
        """Return a sequence of the first `length` tokens of another."""
        ...

    def step(self, batch: Sequence[tuple[Any, Sequence[int]]]) -> LogitsT:
        """Append tokens to sequences and return the logits after the last token of each."""
        ...

    def sample(self, logits: LogitsT, rows: Sequence[int], states: Sequence[SamplerState]) -> list[int]:
        """Return the next token of some rows of the logits."""
        ...

    def log_probabilities(
        self, logits: LogitsT, rows: Sequence[int], tokens: Sequence[int]
    ) -> list[float]: ...

    def top_log_probabilities(
        self, logits: LogitsT, rows: Sequence[int], counts: Sequence[int]
    ) -> Sequence[Mapping[int, float] | None]: ...

    def release(self, sequence: Any) -> None:
        """Free the KV cache of a sequence."""
        ...


@attrs.frozen
class FailedRequest:
    """A request that ended with an error, which concerns no other request."""

    index: int
    error: Exception


EngineEvent = TokenEvent | FailedRequest


class Engine:
    """Runs requests that may be added and cancelled at any time, in a batch that changes at every step.

    Answers do not depend on the other requests. It is not thread-safe.
    """

    def __init__(self, runner: ModelRunner[Any]) -> None:
        self._runner = runner
        self.pages = PageTable(runner.num_pages, runner.page_size)
        self.prefixes = PrefixStore(self.pages, runner.max_cached_pages, runner.can_truncate)
        self.scheduler = Scheduler(runner.limits, self.pages, self.prefixes)
        self._sequences: dict[int, ScheduledSequence] = {}
        self._events: deque[EngineEvent] = deque()
        self._num_added = 0

    @property
    def has_unfinished(self) -> bool:
        return bool(self._sequences or self._events)

    def add(self, request: GenerationRequest, context: int) -> int:
        """Add a request for at least one token and return its index, which its events have.

        Args:
            request: A request whose prompt has fewer than `context` tokens.
            context: The largest number of tokens of the prompt and the answer.
        """
        index, self._num_added = self._num_added, self._num_added + 1
        length = min(len(request.prompt) + request.max_new_tokens, context)
        sequence = ScheduledSequence(
            index,
            request,
            list(request.prompt),
            length,
            self._runner.sampler_state(request),
            sharing_key=self._runner.sharing_key(length),
        )
        self._sequences[index] = sequence
        self.scheduler.add(sequence)
        return index

    def cancel(self, index: int) -> None:
        """End a request, which gets no more events."""
        sequence = self._sequences.get(index)
        if sequence is not None:
            self._finish(sequence)
        self._events = deque(event for event in self._events if event.index != index)

    def step(self) -> list[EngineEvent]:
        """Compute a step and return its events; an event with a finish reason is the last of its request.

        After an error, all tokens that were not returned as events are computed again by the next step.
        """
        try:
            self._step()
        except InsufficientSpace as error:
            self._reduce(error)
        except BaseException:
            self._restart()
            raise
        events, self._events = self._events, deque()
        return list(events)

    def close(self) -> None:
        """End all requests and free the KV cache."""
        for sequence in list(self._sequences.values()):
            self._finish(sequence, keeps_prefix=False)
        self._evict_all()
        self._events.clear()

    def _step(self) -> None:
        for sequence in self.scheduler.admit():
            self._start(sequence)
        batch, preempted = self.scheduler.schedule()
        for sequence in preempted:
            self._release(sequence)
        self._release_evicted()
        if not batch:
            return
        logits = self._runner.step(
            [(it.handle, it.tokens[it.num_computed : it.num_computed + count]) for it, count in batch]
        )
        for sequence, count in batch:
            sequence.num_computed += count
            if sequence.num_computed == sequence.snapshot_length:
                self._keep_snapshot(sequence)
        complete = [row for row, (sequence, _) in enumerate(batch) if sequence.num_pending == 0]
        if complete:
            self._sample(logits, complete, [batch[row][0] for row in complete])

    def _start(self, sequence: ScheduledSequence) -> None:
        """Create the runner's sequence, with the prefix that it shares."""
        if sequence.parent is None:
            sequence.handle = self._runner.new_sequence(sequence.max_length)
        else:
            sequence.handle = self._runner.fork(sequence.parent.handle, sequence.fork_length)
            sequence.num_computed = sequence.fork_length
            sequence.num_cached = min(sequence.fork_length, len(sequence.request.prompt))
            sequence.parent = None

    def _sample(self, logits: Any, rows: Sequence[int], sequences: Sequence[ScheduledSequence]) -> None:
        """Append a token to each sequence whose tokens are all computed; its logits are in `rows`."""
        runner = self._runner
        try:
            tokens = runner.sample(logits, rows, [it.sampler_state for it in sequences])
        except Exception as error:  # noqa: BLE001 - of one request, perhaps of a function that it has
            if len(sequences) == 1:
                self._fail(sequences[0], error)
                return
            for row, sequence in zip(rows, sequences, strict=True):
                sequence.sampler_state.retry()
                self._sample(logits, [row], [sequence])
            return
        logprobs: Sequence[float | None] = [None] * len(rows)
        top_logprobs: Sequence[Mapping[int, float] | None] = logprobs  # type: ignore[assignment]
        if any(it.request.logprobs for it in sequences):
            logprobs = runner.log_probabilities(logits, rows, tokens)
        if any(it.request.top_logprobs for it in sequences):
            top_logprobs = runner.top_log_probabilities(
                logits, rows, [it.request.top_logprobs for it in sequences]
            )
        for sequence, token, logprob, top in zip(sequences, tokens, logprobs, top_logprobs, strict=True):
            self._append(sequence, token, logprob if sequence.request.logprobs else None, top)

    def _append(
        self,
        sequence: ScheduledSequence,
        token: int,
        logprob: float | None,
        top_logprobs: Mapping[int, float] | None,
    ) -> None:
        sequence.tokens.append(token)
        sequence.sampler_state.append(token)
        reason: FinishReason | None = "length" if len(sequence.tokens) == sequence.max_length else None
        if token in sequence.request.stop_token_ids or sequence.sampler_state.is_finished:
            reason = "stop"
        cached = sequence.num_cached
        self._events.append(TokenEvent(sequence.index, token, logprob, reason, top_logprobs, cached))
        if reason is not None:
            self._finish(sequence)

    def _fail(self, sequence: ScheduledSequence, error: Exception) -> None:
        self._finish(sequence, keeps_prefix=False)
        self._events.append(FailedRequest(sequence.index, error))

    def _finish(self, sequence: ScheduledSequence, *, keeps_prefix: bool = True) -> None:
        """Remove a request; its KV cache is kept as a cached prefix or freed."""
        del self._sequences[sequence.index]
        length = sequence.num_computed
        if keeps_prefix and length >= MIN_SHARED and sequence.handle is not None and self._caches(sequence):
            pages = self.pages.fork(sequence.pages, length)
            prefix = CachedPrefix(sequence.tokens[:length], sequence.handle, pages, sequence.sharing_key)
            sequence.handle = None
            self.scheduler.finish(sequence)
            self.prefixes.keep(prefix)
        else:
            self.scheduler.finish(sequence)
            self._release(sequence)
        self._release_evicted()

    def _keep_snapshot(self, sequence: ScheduledSequence) -> None:
        if self._caches(sequence):
            length = sequence.num_computed
            handle = self._runner.fork(sequence.handle, length)
            pages = self.pages.fork(sequence.pages, length)
            self.prefixes.keep(CachedPrefix(sequence.tokens[:length], handle, pages, sequence.sharing_key))
            self._release_evicted()

    def _caches(self, sequence: ScheduledSequence) -> bool:
        return self.prefixes.max_pages > 0 and sequence.sharing_key is not None

    def _reduce(self, error: InsufficientSpace) -> None:
        """Use less memory after an allocation has failed: no cached prefixes, and fewer sequences."""
        running, used = list(self.scheduler.running), self.pages.num_used
        self._restart()
        is_cached = len(self.prefixes) > 0
        self._evict_all()
        if is_cached:
            return
        if len(running) > 1:
            self.pages.capacity = max(1, used // 2)
            return
        for sequence in running:
            self._fail(sequence, error)

    def _evict_all(self) -> None:
        while self.prefixes.evict():
            pass
        self._release_evicted()

    def _restart(self) -> None:
        """Let all requests wait again."""
        self.scheduler.restart(list(self._sequences.values()))
        for sequence in self._sequences.values():
            self._release(sequence)

    def _release(self, sequence: ScheduledSequence) -> None:
        if sequence.handle is not None:
            self._runner.release(sequence.handle)
            sequence.handle = None

    def _release_evicted(self) -> None:
        while self.prefixes.evicted:
            self._runner.release(self.prefixes.evicted.pop().handle)
