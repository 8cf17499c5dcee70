"""Speculative decoding without a draft model: propose what followed the last tokens before."""

from collections.abc import Sequence

import attrs

from litgpt.domain.scheduling.sequence import ScheduledSequence

_NGRAM = 3
"""The tokens that have to occur before."""
_MAX_PAUSE = 64


@attrs.define(eq=False)
class PromptLookup:
    """Proposes the continuation of the latest occurrence of the last tokens, in the prompt and the answer.

    After proposals that were rejected it pauses, for twice as many tokens each time, so that texts without
    repetitions cost little. After accepted ones it proposes more.
    """

    _next: dict[tuple[int, ...], int] = attrs.field(factory=dict, init=False, repr=False)
    _num_indexed: int = attrs.field(default=_NGRAM, init=False)
    _length: int = attrs.field(default=2, init=False)
    _pause: int = attrs.field(default=0, init=False)
    _resumes_at: int = attrs.field(default=0, init=False)

    def propose(self, tokens: Sequence[int], limit: int) -> list[int]:
        """Return at most `limit` tokens that may follow."""
        for end in range(self._num_indexed, len(tokens)):
            self._next[tuple(tokens[end - _NGRAM : end])] = end
        self._num_indexed = max(self._num_indexed, len(tokens))
        if len(tokens) < self._resumes_at:
            return []
        start = self._next.get(tuple(tokens[-_NGRAM:]))
        return [] if start is None else list(tokens[start : start + min(self._length, limit)])

    def update(self, num_tokens: int, num_proposed: int, num_accepted: int) -> None:
        """Adapt to the outcome of a proposal, after which there are `num_tokens` tokens."""
        if num_accepted == num_proposed:
            self._length, self._pause = 2 * self._length, 0
        elif num_accepted > 0:
            self._length, self._pause = max(2, num_accepted), 0
        else:
            self._length, self._pause = 2, min(2 * self._pause + 1, _MAX_PAUSE)
        self._resumes_at = num_tokens + self._pause


@attrs.define(eq=False)
class PromptLookupDrafter:
    """Implements `Drafter` with a `PromptLookup` for each sequence."""

    _lookups: dict[int, PromptLookup] = attrs.field(factory=dict, init=False, repr=False)

    def propose(self, batch: Sequence[tuple[ScheduledSequence, int]]) -> list[list[int]]:
        return [self._propose(sequence, limit) for sequence, limit in batch]

    def update(self, sequence: ScheduledSequence, num_proposed: int, num_accepted: int) -> None:
        lookup = self._lookups.get(sequence.index)
        if lookup is not None:
            lookup.update(len(sequence.tokens), num_proposed, num_accepted)

    def release(self, sequence: ScheduledSequence) -> None:
        self._lookups.pop(sequence.index, None)

    def close(self) -> None:
        self._lookups.clear()

    def _propose(self, sequence: ScheduledSequence, limit: int) -> list[int]:
        allowed = sequence.request.prompt_lookup_num_tokens
        limit = limit if allowed is None else min(limit, allowed)
        if limit == 0:
            return []
        lookup = self._lookups.setdefault(sequence.index, PromptLookup())
        return lookup.propose(sequence.tokens, limit)
