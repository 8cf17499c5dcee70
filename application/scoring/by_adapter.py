"""Scoring requests that name LoRA adapters: those of each adapter are computed together."""

from collections.abc import Callable, Sequence

from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.scoring.request import ScoringRequest, TokenScores


def score_by_adapter(
    requests: Sequence[ScoringRequest],
    score: Callable[[str | None, Sequence[ScoringRequest]], Sequence[TokenScores]],
) -> list[TokenScores]:
    """Return the scores of requests, in their order.

    Args:
        requests: Requests of any adapters.
        score: Returns the scores of requests, all of which name the adapter that it is given.

    Raises:
        NonFiniteLogits: The logits of a request are NaN or infinite.
    """
    members: dict[str | None, list[int]] = {}
    for index, request in enumerate(requests):
        members.setdefault(request.adapter, []).append(index)
    scores: dict[int, TokenScores] = {}
    for adapter, indices in members.items():
        try:
            own = score(adapter, [requests[index] for index in indices])
        except NonFiniteLogits as error:
            rows = [indices[row] for row in error.rows]
            raise NonFiniteLogits(rows, len(requests), error.where) from error.__cause__
        scores.update(zip(indices, own, strict=True))
    return [scores[index] for index in range(len(requests))]
