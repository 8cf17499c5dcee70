"""Speculative decoding with a draft model: a small model proposes what a larger one verifies."""

from collections import deque
from collections.abc import Hashable, Sequence
from math import exp
from typing import Any

import attrs

from litgpt.domain.common_prefix import MIN_SHARED, common_prefix_length
from litgpt.domain.errors import LitGPTError
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.scheduling.drafts.draft_length import Acceptance, DraftBudget
from litgpt.domain.scheduling.model_runner import ModelRunner
from litgpt.domain.scheduling.sequence import ScheduledSequence
from litgpt.domain.scheduling.step_costs import StepCosts

_CATCH_UP_TOKENS = 128
"""The most tokens of a text that the draft model computes between two steps."""
_EXPECTED_TOKENS = 32
"""The number of tokens that an answer is expected to have at least."""
_FIRST_PAUSE = 64
_PRIOR_WEIGHT = 2.0
_MAX_KEPT = 4
"""The most released sequences whose KV cache is kept."""


@attrs.define(eq=False)
class _DraftSequence:
    """The tokens of a sequence that the draft model has computed.

    Attributes:
        length: The number of tokens of the sequence in the KV cache.
        proposed: Proposed tokens that follow them in the KV cache.
    """

    handle: Any = None
    length: int = 0
    proposed: list[int] = attrs.field(factory=list)
    acceptance: Acceptance = attrs.field(factory=lambda: Acceptance(decay=0.9))


@attrs.define(eq=False)
class _KeptSequence:
    """A sequence that was released, of which a later one may have a prefix; see `ModelRunner.sharing_key`."""

    tokens: list[int]
    handle: Any
    key: Hashable


@attrs.define(eq=False)
class _Proposal:
    """What the draft model computes for a sequence in this round.

    Attributes:
        pending: The tokens to compute before those of the draft.
        limit: The largest number of tokens of the draft.
        least_confidence: The probability of the draft from which on it is continued.
        confidence: The probability of the draft, to the draft model.
    """

    sequence: ScheduledSequence
    computed: _DraftSequence
    pending: list[int]
    limit: int
    least_confidence: float
    draft: list[int] = attrs.field(factory=list)
    confidence: float = 1.0

    def add(self, token: int, logprob: float) -> None:
        self.draft.append(token)
        self.confidence *= exp(logprob)

    @property
    def continues(self) -> bool:
        return len(self.draft) < self.limit and self.confidence >= self.least_confidence


@attrs.define(eq=False)
class DraftModel:
    """Implements `Drafter` with another model, which has the same vocabulary.

    It proposes its likeliest tokens. Its KV cache follows the text: rejected tokens are removed, and tokens
    that it has not proposed are computed before the next proposal. The last sequences are kept, within the
    memory for cached prefixes, for the next turn of a conversation and for sequences that were preempted.

    Attributes:
        runner: Computes the draft model; it can truncate sequences.
        target: The times of the steps of the model that verifies.
        context: The context length of the draft model.
        vocab_size: The number of token ids that both models have.
        budget: Decides how many tokens are proposed.
    """

    runner: ModelRunner[Any]
    target: StepCosts
    context: int
    vocab_size: int
    _sequences: dict[int, _DraftSequence] = attrs.field(factory=dict, init=False, repr=False)
    _kept: deque[_KeptSequence] = attrs.field(factory=deque, init=False, repr=False)
    _acceptance: Acceptance = attrs.field(factory=lambda: Acceptance(decay=0.98), init=False, repr=False)
    budget: DraftBudget = attrs.field(init=False, repr=False)
    _pause: int = attrs.field(default=0, init=False)
    _num_paused: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.budget = DraftBudget(self.target, self.runner.costs)

    def propose(self, batch: Sequence[tuple[ScheduledSequence, int]]) -> list[list[int]]:
        if self._num_paused < self._pause:
            self._num_paused += 1
            return [[] for _ in batch]
        longest = max(it.max_length - len(it.tokens) for it, _ in batch)
        if not self.budget.begin(len(batch), longest):
            return [[] for _ in batch]
        try:
            proposals = [self._plan(sequence, limit) for sequence, limit in batch]
            self._compute([it for it in proposals if it is not None])
        except LitGPTError:  # memory is short, or the draft model's logits are not finite
            self.close()
            self._pause, self._num_paused = max(_FIRST_PAUSE, 2 * self._pause), 0
            return [[] for _ in batch]
        drafts = [[] if it is None else it.draft for it in proposals]
        self.budget.proposed(sum(map(len, drafts)))
        return drafts

    def update(self, sequence: ScheduledSequence, num_proposed: int, num_accepted: int) -> None:  # noqa: ARG002
        self.budget.accepted(num_accepted)
        self._acceptance.update(is_accepted=num_accepted > 0)
        computed = self._sequences.get(sequence.index)
        if computed is not None:
            computed.acceptance.update(is_accepted=num_accepted > 0)

    def release(self, sequence: ScheduledSequence) -> None:
        computed = self._sequences.pop(sequence.index, None)
        if computed is None or computed.handle is None:
            return
        key = self._sharing_key(sequence)
        limit = self.runner.max_cached_pages * self.runner.page_size
        if key is None or limit == 0 or computed.length < MIN_SHARED:
            self.runner.release(computed.handle)
            return
        self._kept.append(_KeptSequence(sequence.tokens[: computed.length], computed.handle, key))
        while len(self._kept) > _MAX_KEPT or (
            len(self._kept) > 1 and sum(len(it.tokens) for it in self._kept) > limit
        ):
            self.runner.release(self._kept.popleft().handle)

    def close(self) -> None:
        while self._sequences:
            _, computed = self._sequences.popitem()
            if computed.handle is not None:
                self.runner.release(computed.handle)
        while self._kept:
            self.runner.release(self._kept.popleft().handle)

    def _sharing_key(self, sequence: ScheduledSequence) -> Hashable:
        return self.runner.sharing_key(self._length(sequence)) if sequence.request.cache_prompt else None

    def _length(self, sequence: ScheduledSequence) -> int:
        return min(sequence.max_length, self.context)

    def _share(self, sequence: ScheduledSequence, computed: _DraftSequence) -> None:
        """Begin with the longest prefix that a kept sequence has in common."""
        key = self._sharing_key(sequence)
        prefixes = [
            (min(common_prefix_length(it.tokens, sequence.tokens), len(sequence.tokens) - 1), it)
            for it in self._kept
            if key is not None and it.key == key
        ]
        length, kept = max(prefixes, key=lambda it: it[0], default=(0, None))
        if kept is not None and length >= MIN_SHARED:
            computed.handle = self.runner.fork(kept.handle, length, self._length(sequence))
            computed.length = length
            if length == len(kept.tokens):  # this sequence continues it
                self._kept.remove(kept)
                self.runner.release(kept.handle)

    def _plan(self, sequence: ScheduledSequence, limit: int) -> _Proposal | None:
        """Return what is computed for a sequence; None if no draft is expected to pay."""
        limit = min(limit, self.context - len(sequence.tokens))
        if limit <= 0:
            return None
        computed = self._sequences.setdefault(sequence.index, _DraftSequence())
        if computed.handle is None:
            self._share(sequence, computed)
        self._follow(sequence, computed)
        pending = sequence.tokens[computed.length :]
        chunk = pending[:_CATCH_UP_TOKENS]
        if max(chunk) >= self.vocab_size:
            return None
        budget = self.budget
        acceptance = computed.acceptance.probability(self._acceptance.probability(), _PRIOR_WEIGHT)
        saved = budget.seconds_saved(acceptance)
        least_confidence = budget.least_confidence(acceptance) if saved > 0 else 1.0
        remaining = min(
            sequence.max_length - len(sequence.tokens),
            max(_EXPECTED_TOKENS, len(sequence.tokens) - len(sequence.request.prompt)),
        )
        is_behind = len(pending) > 2
        if saved == 0 or (is_behind and saved * remaining < budget.draft_seconds(len(pending))):
            size, limit = budget.trial_size(len(chunk)), 1
            if size == 0:
                return None
            chunk = chunk[:size]
        limit = limit if len(chunk) == len(pending) else 0
        return _Proposal(sequence, computed, chunk, limit, least_confidence)

    def _follow(self, sequence: ScheduledSequence, computed: _DraftSequence) -> None:
        """Remove proposed tokens that were rejected from the KV cache."""
        proposed, computed.proposed = computed.proposed, []
        same = common_prefix_length(proposed, sequence.tokens, computed.length)
        same = min(same, len(sequence.tokens) - computed.length - 1)
        computed.length += same
        if same < len(proposed):
            self.runner.truncate(computed.handle, computed.length)

    def _compute(self, proposals: Sequence[_Proposal]) -> None:
        """Compute the pending tokens of each sequence, and then one proposed token after the other."""
        for it in proposals:
            if it.computed.handle is None:
                it.computed.handle = self.runner.new_sequence(self._length(it.sequence))
        running = list(proposals)
        while running:
            logits = self.runner.step(
                [(it.computed.handle, it.draft[-1:] or it.pending) for it in running],
            )
            for it in running:
                if it.draft:
                    it.computed.proposed.append(it.draft[-1])
                else:
                    it.computed.length += len(it.pending)
            rows = [row for row, it in enumerate(running) if it.limit > 0]
            running = [running[row] for row in rows]
            if not running:
                return
            tokens = self.runner.sample(logits, rows, [_GREEDY] * len(rows))
            logprobs = self.runner.log_probabilities(logits, rows, tokens)
            for it, token, logprob in zip(running, tokens, logprobs, strict=True):
                if token < self.vocab_size:
                    it.add(token, logprob)
                else:
                    it.limit = 0
            running = [it for it in running if it.continues]


_GREEDY = SamplerState(SamplingParams(temperature=0), lambda: 0)
