"""Score texts: log-probabilities of continuations and of whole texts, and perplexity."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

import attrs

from litgpt.application.scoring.encode_continuation import encode_continuation
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.ports import Generator, Tokenizer
from litgpt.domain.scoring.request import ScoringRequest, TokenScores
from litgpt.domain.scoring.results import ContinuationScore, TextLogprobs
from litgpt.domain.scoring.windows import strided_windows
from litgpt.domain.validators import integer

_WINDOWS = 64
"""The windows of a text that are in memory at a time."""


@attrs.frozen
class ScoreText:
    """Scores texts with a generator."""

    tokenizer: Tokenizer
    generator: Generator

    def continuations(self, pairs: Sequence[tuple[str, Sequence[str]]]) -> list[list[ContinuationScore]]:
        """Return the scores of the continuations of each prompt."""
        return grouped(pairs, self.scores(self.encode(pairs)))

    def encode(self, pairs: Sequence[tuple[str, Sequence[str]]]) -> list[ScoringRequest]:
        """Return a request for each continuation of each prompt, in order."""
        return [
            encode_continuation(self.tokenizer, prompt, continuation)
            for prompt, continuations in pairs
            for continuation in continuations
        ]

    def scores(self, requests: Sequence[ScoringRequest]) -> list[ContinuationScore]:
        """Return the scores of encoded continuations."""
        return [*map(_continuation_score, requests, self.generator.score(requests))]

    def logprobs(self, texts: Sequence[str]) -> list[TextLogprobs]:
        """Return the log-probabilities of the tokens of each text."""
        encoded = [self.tokenizer.encode(text) for text in texts]
        scored = iter(self.generator.score([ScoringRequest(ids=ids) for ids in encoded if len(ids) > 1]))
        return [
            TextLogprobs(
                token_ids=tuple(ids),
                logprobs=(None, *(next(scored).logprobs if len(ids) > 1 else ())),
            )
            for ids in encoded
        ]

    def perplexity(self, text: str, stride: int | None = None) -> float:
        """Return the perplexity of a text, with windows of the context length; see `strided_windows`.

        Raises:
            InvalidArgument: The text has fewer than two tokens, or the stride is out of bounds.
        """
        context = self.generator.context
        expected = f"an integer from 1 to {context - 1}, less than the context length, or None"
        step = context // 2 if stride is None else integer("stride", stride, 1, expected)
        if step >= context:
            raise InvalidArgument("stride", stride, expected)
        ids = self.tokenizer.encode(text)
        if len(ids) < 2:
            raise InvalidArgument("text", text, "at least two tokens long")
        windows = strided_windows(ids, context, step)
        total = math.fsum(sum(scores.logprobs) for scores in self._score_lazily(windows))
        try:
            return math.exp(-total / (len(ids) - 1))
        except OverflowError:
            return math.inf

    def _score_lazily(self, requests: Iterator[ScoringRequest]) -> Iterator[TokenScores]:
        while batch := list(islice(requests, _WINDOWS)):
            yield from self.generator.score(batch)


def grouped(
    pairs: Sequence[tuple[str, Sequence[str]]], scores: Sequence[ContinuationScore]
) -> list[list[ContinuationScore]]:
    """Return the scores of all continuations in one list for each prompt."""
    rest = iter(scores)
    return [list(islice(rest, len(continuations))) for _, continuations in pairs]


def _continuation_score(request: ScoringRequest, scores: TokenScores) -> ContinuationScore:
    return ContinuationScore(
        logprob=math.fsum(scores.logprobs),
        is_greedy=all(scores.is_greedy),
        token_ids=tuple(request.ids[request.start :]),
        logprobs=scores.logprobs,
    )
