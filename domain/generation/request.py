"""What is asked of a Generator and what comes back, in ids; and the same for people, in text."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.validators import integer_field

FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]
"""Why a text ended: an end token or stop string, a bound on its length, or the caller's wish."""


@attrs.frozen(kw_only=True)
class GenerationRequest:
    """One prompt to continue.

    Attributes:
        prompt: Token ids, at least one.
        max_new_tokens: A bound on the answer; the context's end is another.
        sampling_params: How to draw.
        stop_token_ids: Tokens after which the answer is over. The one that came is part of the answer's ids.
        logprobs: Whether each event is to carry the log-probability of its token.

    """

    prompt: Sequence[int] = attrs.field(repr=False)
    max_new_tokens: int = integer_field(50, 0)
    sampling_params: SamplingParams = attrs.field(factory=SamplingParams)
    stop_token_ids: frozenset[int] = frozenset()
    logprobs: bool = False

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        if not self.prompt:
            raise InvalidArgument("prompt", self.prompt, "at least one token long")


@attrs.frozen
class TokenEvent:
    """One token of one answer.

    Attributes:
        index: Which of the requests it answers.
        token: The token's id.
        logprob: The natural logarithm of its probability under the model (before top_k, temperature and
            top_p), if it was asked for.
        finish_reason: Why the answer ends here; None while it goes on.

    """

    index: int
    token: int
    logprob: float | None = None
    finish_reason: FinishReason | None = None


@attrs.frozen(kw_only=True)
class Completion:
    """An answer, with what a program wants to know about it.

    Attributes:
        text: The answer, without the prompt, the end token or the stop string.
        token_ids: Its tokens, the end token included.
        logprobs: The log-probability of each of `token_ids`, or None if they were not asked for.
        finish_reason: `stop`, `length` or `cancelled`.
        prompt_tokens: How many tokens the prompt came to.

    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    finish_reason: FinishReason
    prompt_tokens: int

    __repr__ = brief_repr

    @property
    def completion_tokens(self) -> int:
        """How many tokens the answer has."""
        return len(self.token_ids)


@attrs.frozen
class CompletionChunk:
    """One token of one answer as it comes, and the text that is certain with it.

    Attributes:
        index: Which of the prompts it answers.
        text: Whole characters, never part of a stop string; often empty.
        token: The token's id; None only where an answer has no token at all.
        logprob: Its log-probability, if it was asked for.
        completion: The whole answer, with the last event; None before.

    """

    index: int
    text: str
    token: int | None = None
    logprob: float | None = None
    completion: Completion | None = None

    __repr__ = brief_repr
