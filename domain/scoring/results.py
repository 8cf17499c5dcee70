"""The scores of texts and continuations, as users see them."""

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr


@attrs.frozen(kw_only=True)
class ContinuationScore:
    """The score of one continuation of a prompt.

    Attributes:
        logprob: The natural logarithm of the probability of the continuation after the prompt: the sum of
            `logprobs`.
        is_greedy: Whether each of its tokens is the likeliest one at its place, as in lm-eval.
        token_ids: Its tokens.
        logprobs: The log-probability of each token under the model, before all sampling parameters.
    """

    logprob: float
    is_greedy: bool
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class RankedDocument:
    """A document and its relevance to a query.

    Attributes:
        index: The index of the document in the argument `documents`.
        score: The relevance; `LLM.rerank` describes the numbers.
    """

    index: int
    score: float


@attrs.frozen(kw_only=True)
class TextLogprobs:
    """The log-probabilities of the tokens of a text.

    Attributes:
        token_ids: The tokens of the text, with the beginning-of-sequence token if the tokenizer adds it.
        logprobs: The log-probability of each token after the tokens before it, under the model; None for the
            first token.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float | None, ...]

    __repr__ = brief_repr
