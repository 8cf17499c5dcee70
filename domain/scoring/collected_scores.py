"""The scores of several requests, whose tokens are computed in parts."""

from collections.abc import Mapping, Sequence

import attrs

from litgpt.domain.scoring.request import ScoringRequest, TokenScores


@attrs.define(eq=False)
class CollectedScores:
    """Collects the scores of tokens; those of each request are added in order."""

    requests: Sequence[ScoringRequest]
    _logprobs: list[list[float]] = attrs.field(init=False)
    _is_greedy: list[list[bool]] = attrs.field(init=False)
    _top_logprobs: list[list[Mapping[int, float]]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._logprobs = [[] for _ in self.requests]
        self._is_greedy = [[] for _ in self.requests]
        self._top_logprobs = [[] for _ in self.requests]

    def top_counts(self, owners: Sequence[int]) -> list[int]:
        """Return the number of likeliest tokens for each row; `owners` has the request of each."""
        return [self.requests[owner].top_logprobs for owner in owners]

    def add(
        self,
        owners: Sequence[int],
        logprobs: Sequence[float],
        is_greedy: Sequence[bool],
        top_logprobs: Sequence[Mapping[int, float] | None],
    ) -> None:
        """Add the scores of one token per row."""
        for owner, logprob, greedy, top in zip(owners, logprobs, is_greedy, top_logprobs, strict=True):
            self._logprobs[owner].append(logprob)
            self._is_greedy[owner].append(greedy)
            if top is not None:
                self._top_logprobs[owner].append(top)

    def results(self) -> list[TokenScores]:
        """Return the scores in the order of the requests."""
        collected = zip(self.requests, self._logprobs, self._is_greedy, self._top_logprobs, strict=True)
        return [
            TokenScores(tuple(logprobs), tuple(is_greedy), tuple(top) if request.top_logprobs else None)
            for request, logprobs, is_greedy, top in collected
        ]
