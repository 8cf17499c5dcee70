"""The engine: requests join and leave a running batch."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from litgpt.domain.common_prefix import MIN_SHARED, common_prefix_length
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.generation.request import FinishReason, GenerationRequest, TokenEvent
from litgpt.domain.scheduling.drafts.drafter import Drafter
from litgpt.domain.scheduling.drafts.prompt_lookup import PromptLookupDrafter
from litgpt.domain.scheduling.events import EngineEvent, FailedRequest
from litgpt.domain.scheduling.log_probabilities import log_probabilities
from litgpt.domain.scheduling.model_runner import ModelRunner
from litgpt.domain.scheduling.page_table import PageTable
from litgpt.domain.scheduling.prefill_pacing import PrefillPacing
from litgpt.domain.scheduling.prefix_store import CachedPrefix, PrefixStore
from litgpt.domain.scheduling.scheduler import Scheduler
from litgpt.domain.scheduling.sequence import ScheduledSequence


class Engine:
    """Runs requests that may be added and cancelled at any time, in a batch that changes at every step.

    Answers do not depend on the other requests. It is not thread-safe.

    Args:
        runner: Computes the steps.
        context: The largest number of tokens of a prompt and its answer.
        drafter: Proposes tokens where the prompt look-up does not.
    """

    def __init__(self, runner: ModelRunner[Any], context: int, drafter: Drafter | None = None) -> None:
        self._runner, self._context = runner, context
        self.pages = PageTable(runner.num_pages, runner.page_size, runner.shares_pages)
        self.prefixes = PrefixStore(self.pages, runner.max_cached_pages, runner.can_truncate)
        drafters = [it for it in (PromptLookupDrafter(), drafter) if it is not None]
        pacing = PrefillPacing(runner.costs)
        self.scheduler = Scheduler(runner.limits, self.pages, self.prefixes, pacing, drafters)
        self._sequences: dict[int, ScheduledSequence] = {}
        self._events: deque[EngineEvent] = deque()
        self._num_added = 0

    @property
    def has_unfinished(self) -> bool:
        return bool(self._sequences or self._events)

    def add(self, request: GenerationRequest) -> int:
        """Add a request for at least one token, and return its index, which its events have.

        Its prompt is shorter than the context. Its adapter is used to its end, also if it is deleted.

        Raises:
            InvalidArgument: No adapter has the name of the request's.
            UnsupportedOperation: The adapter cannot be used for single requests.
        """
        adapter = self._runner.adapter(request.adapter)
        if not self._sequences:  # after an allocation had failed
            self.pages.capacity = self._runner.num_pages
        index, self._num_added = self._num_added, self._num_added + 1
        length = min(len(request.prompt) + request.max_new_tokens, self._context)
        sequence = ScheduledSequence(
            index,
            request,
            list(request.prompt),
            length,
            self._runner.sampler_state(request),
            adapter=adapter,
            sharing_key=self._runner.sharing_key(length, adapter) if request.cache_prompt else None,
        )
        self._sequences[index] = sequence
        self.scheduler.add(sequence)
        return index

    def cancel(self, index: int, *, keeps_prefix: bool = True) -> None:
        """End a request, which gets no more events; keeping its prefix can take a computation."""
        sequence = self._sequences.get(index)
        if sequence is not None:
            self._finish(sequence, keeps_prefix=keeps_prefix)
        self._events = deque(event for event in self._events if event.index != index)

    def is_waiting(self, index: int) -> bool:
        """Return whether a request has not been admitted yet, or was preempted."""
        return index in self._sequences and not self._sequences[index].is_running

    def step(self) -> list[EngineEvent]:
        """Compute a step and return its events; an event with a finish reason is the last of its request.

        After an error, all requests wait again; the next step also returns the events before the error.
        """
        try:
            self._step()
        except InsufficientSpace as error:
            self._reduce(error)
        except BaseException:
            self.restart()
            raise
        events, self._events = self._events, deque()
        return list(events)

    def close(self) -> None:
        """End all requests and free the KV cache."""
        for sequence in list(self._sequences.values()):
            self._finish(sequence, keeps_prefix=False)
        self._evict_all()
        self._close_drafters()
        self._events.clear()

    def _step(self) -> None:
        admitted = self.scheduler.admit()
        for sequence in admitted:
            self._start(sequence)
        for sequence in admitted:  # one that ends may release what another one has been forked from
            self._append_forced(sequence)
        self.scheduler.propose()
        batch, preempted = self.scheduler.schedule()
        for sequence in preempted:
            self._release(sequence)
        self._release_evicted()
        if not batch:
            return
        drafting = [sequence for sequence, _ in batch if sequence.draft]
        rows = [sequence.logit_positions(count) for sequence, count in batch] if drafting else None
        logits = self._runner.step(
            [(it.handle, it.next_tokens(count)) for it, count in batch],
            rows,
            [sequence.adapter for sequence, _ in batch],
        )
        complete, row = list[tuple[int, ScheduledSequence]](), 0
        for sequence, count in batch:
            if sequence.draft:
                num_rows = len(sequence.draft) + 1
                self._verify(logits, row, sequence)
                row += num_rows
                continue
            sequence.num_computed += count
            if sequence.num_computed == sequence.snapshot_length:
                self._keep_prefix(sequence)
            if sequence.num_pending == 0:
                complete.append((row, sequence))
            row += 1
        if complete:
            self._sample(logits, [row for row, _ in complete], [sequence for _, sequence in complete])

    def _verify(self, logits: Any, row: int, sequence: ScheduledSequence) -> None:
        """Sample after each token of a draft, as long as the samples are its tokens.

        So the tokens are those that would be sampled without a draft.
        """
        draft, tokens = list(sequence.draft), sequence.tokens
        first = len(tokens)
        accepted = 0
        while True:
            sequence.num_computed = first + accepted
            self._sample(logits, [row + accepted], [sequence])
            if sequence.is_finished or tokens[first:] != draft[: len(tokens) - first]:
                break
            accepted = len(tokens) - first
        sequence.draft = []
        accepted = common_prefix_length(draft, tokens, first)
        sequence.drafter.update(sequence, len(draft), accepted)
        if sequence.is_finished:
            return
        sequence.num_computed = first + accepted
        if accepted < len(draft):
            self._runner.truncate(sequence.handle, sequence.num_computed)
            self.pages.truncate(sequence.pages, sequence.num_computed)

    def _start(self, sequence: ScheduledSequence) -> None:
        """Create the runner's sequence, with the prefix that it shares."""
        if sequence.parent is None:
            sequence.handle = self._runner.new_sequence(sequence.max_length)
        else:
            sequence.handle = self._runner.fork(
                sequence.parent.handle, sequence.fork_length, sequence.max_length
            )
            sequence.num_computed = sequence.fork_length
            sequence.num_cached = min(sequence.fork_length, len(sequence.request.prompt))
            sequence.parent = None

    def _sample(self, logits: Any, rows: Sequence[int], sequences: Sequence[ScheduledSequence]) -> None:
        """Append a token to each sequence whose tokens are all computed; its logits are in `rows`."""
        runner = self._runner
        try:
            tokens = runner.sample(logits, rows, [it.sampler_state for it in sequences])
        except (KeyboardInterrupt, InsufficientSpace):
            raise
        except BaseException as error:  # noqa: BLE001 - of one request, perhaps of a function that it has
            if len(sequences) == 1:
                self._fail(sequences[0], error)
                return
            for row, sequence in zip(rows, sequences, strict=True):
                sequence.sampler_state.retry()
                self._sample(logits, [row], [sequence])
            return
        logprobs, top_logprobs = log_probabilities(runner, logits, rows, tokens, sequences)
        for sequence, token, logprob, top in zip(sequences, tokens, logprobs, top_logprobs, strict=True):
            self._append(sequence, token, logprob if sequence.request.logprobs else None, top)
            self._append_forced(sequence)

    def _append_forced(self, sequence: ScheduledSequence) -> None:
        """Append the tokens to which the constraint leaves no alternative; the next step computes them.

        Their log-probabilities would need the logits after each, so they are sampled if these are requested.
        """
        state, request = sequence.sampler_state, sequence.request
        if request.logprobs or request.top_logprobs:
            return
        while not sequence.is_finished and (tokens := state.forced_tokens()):
            for token in tokens:
                state.skip_draws()
                self._append(sequence, token, None, None)
                if sequence.is_finished:
                    break

    def _append(
        self,
        sequence: ScheduledSequence,
        token: int,
        logprob: float | None,
        top_logprobs: Mapping[int, float] | None,
    ) -> None:
        sequence.sampler_state.append(token)
        length = len(sequence.tokens) + 1
        reason: FinishReason | None = "length" if length == sequence.max_length else None
        if token in sequence.request.stop_token_ids or sequence.sampler_state.is_finished:
            reason = "stop"
        is_drafted = sequence.draft[:1] == [token]
        sequence.draft = sequence.draft[1:] if is_drafted else []
        sequence.num_drafted += is_drafted
        cached, drafted = sequence.num_cached, sequence.num_drafted
        self._events.append(TokenEvent(sequence.index, token, logprob, reason, top_logprobs, cached, drafted))
        sequence.tokens.append(token)
        if reason is not None:
            self._finish(sequence)

    def _fail(self, sequence: ScheduledSequence, error: BaseException) -> None:
        self._events.append(FailedRequest(sequence.index, error, sequence.tokens))
        self._finish(sequence, keeps_prefix=False)

    def _finish(self, sequence: ScheduledSequence, *, keeps_prefix: bool = True) -> None:
        """Remove a request; its KV cache is kept as a cached prefix or freed."""
        if keeps_prefix and sequence.num_computed >= MIN_SHARED:
            self._keep_prefix(sequence)
        self.scheduler.finish(sequence)
        self._release(sequence)
        del self._sequences[sequence.index]  # last, so that `restart` finds what an interrupt has left
        self._release_evicted()

    def _keep_prefix(self, sequence: ScheduledSequence) -> None:
        """Keep a copy of the computed tokens as a cached prefix, if there is memory for it."""
        if self.prefixes.max_pages == 0 or sequence.sharing_key is None:
            return
        length = sequence.num_computed
        try:
            handle = self._runner.fork(sequence.handle, length, sequence.max_length)
        except InsufficientSpace:
            return
        pages = self.pages.fork(sequence.pages, length)
        self.prefixes.keep(CachedPrefix(sequence.tokens[:length], handle, pages, sequence.sharing_key))
        self._release_evicted()

    def _reduce(self, error: InsufficientSpace) -> None:
        """Use less memory after an allocation has failed: no cached prefixes, and fewer sequences."""
        running, used = list(self.scheduler.running), self.pages.num_used
        self.restart()
        self._close_drafters()
        if len(self.prefixes) > 0:
            self._evict_all()
        elif len(running) > 1:
            self.pages.capacity = max(1, used // 2)
        else:
            self._fail(running[0], error)

    def _evict_all(self) -> None:
        while self.prefixes.evict():
            pass
        self._release_evicted()

    def _close_drafters(self) -> None:
        for drafter in self.scheduler.drafters:
            drafter.close()

    def restart(self) -> None:
        """Let all requests wait again, after an error at any point of a call."""
        for sequence in [it for it in self._sequences.values() if it.is_finished]:
            self._finish(sequence, keeps_prefix=False)
        self.scheduler.restart(list(self._sequences.values()))
        for sequence in self._sequences.values():
            sequence.sampler_state.retry()
            self._release(sequence)

    def _release(self, sequence: ScheduledSequence) -> None:
        if sequence.handle is not None:
            self._runner.release(sequence.handle)
            sequence.handle = None

    def _release_evicted(self) -> None:
        while self.prefixes.evicted:
            self._runner.release(self.prefixes.evicted.pop().handle)
