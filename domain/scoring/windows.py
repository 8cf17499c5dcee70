"""The windows in which the perplexity of a text of any length is computed."""

from collections.abc import Iterator, Sequence

from litgpt.domain.scoring.request import ScoringRequest


def strided_windows(ids: Sequence[int], context: int, stride: int) -> Iterator[ScoringRequest]:
    """Yield windows of at most `context` tokens, `stride` tokens apart.

    Each token but the first is scored once.
    A token is scored by the first window that has it, with all tokens of that window before it: at least
    `context - stride` of them, after the first window.

    Args:
        ids: Token ids, at least two.
        context: The largest number of tokens of a window.
        stride: From 1 to `context - 1`, so that the first scored token of a window has a token before it.
    """
    scored = 1
    for begin in range(0, len(ids), stride):
        end = min(begin + context, len(ids))
        yield ScoringRequest(ids=ids[begin:end], start=scored - begin)
        scored = end
        if end == len(ids):
            return
