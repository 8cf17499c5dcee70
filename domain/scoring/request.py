"""Requests of a Generator for the log-probabilities of given tokens, and their results."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument, TextTooLong
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.validators import integer_field, is_name_or_none

Pooling: TypeAlias = Literal["last", "mean"]
"""How hidden states become an embedding: that of the last token, or the mean over all tokens."""


@attrs.frozen(kw_only=True)
class ScoringRequest:
    """A sequence of tokens, some of which are scored.

    Attributes:
        ids: Token ids, at least two.
        start: The position of the first token to be scored, at least 1, as nothing precedes the first token.
            All tokens from there on are scored.
        top_logprobs: The number of likeliest tokens whose log-probabilities are returned for each of them.
        adapter: The LoRA adapter that computes them, instead of the active one; None: the model as it is.
    """

    ids: Sequence[int] = attrs.field(repr=False)
    start: int = integer_field(1, 1)
    top_logprobs: int = integer_field(0, 0)
    adapter: str | None = attrs.field(default=None, validator=is_name_or_none)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        if self.start >= len(self.ids):
            raise InvalidArgument("start", self.start, f"a position before the end ({len(self.ids)})")

    def predictors(self, begin: int, end: int) -> range:
        """Return the positions from `begin` to `end` (exclusive) whose next token is scored."""
        begin = max(begin, self.start - 1)
        return range(begin, max(begin, min(end, len(self.ids) - 1)))


@attrs.frozen
class TokenScores:
    """The scored tokens of one sequence.

    Attributes:
        logprobs: The natural logarithm of each token's probability after the tokens before it.
        is_greedy: For each token, whether it is the likeliest one at its place.
        top_logprobs: For each token, the likeliest ones at its place in descending order, with such
            logarithms; None unless they were requested.
    """

    logprobs: tuple[float, ...]
    is_greedy: tuple[bool, ...]
    top_logprobs: tuple[Mapping[int, float], ...] | None = None

    __repr__ = brief_repr


def check_sequences(sequences: Sequence[Sequence[int]], context: int, vocab_size: int) -> None:
    """Check the token ids of one call.

    Raises:
        TextTooLong: A sequence is longer than the context.
        InvalidArgument: A sequence is empty, or a token id is outside the vocabulary.
    """
    for ids in sequences:
        if not ids:
            raise InvalidArgument("ids", ids, "at least one token long")
        if len(ids) > context:
            raise TextTooLong(len(ids), context)
        for bad in (min(ids), max(ids)):
            if not 0 <= bad < vocab_size:
                raise InvalidArgument("ids", bad, f"made of token ids from 0 to {vocab_size - 1}")
