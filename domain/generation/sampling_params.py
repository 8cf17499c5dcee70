"""Sampling parameters, and the defaults of a model in `generation_config.json`."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

import attrs

from litgpt.domain.errors import CorruptFile, InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.token_arguments import (
    LogitsProcessor,
    parse_allowed_token_ids,
    parse_logit_bias,
    parse_logits_processors,
    parse_token_ids,
    parse_token_sequences,
    token_field,
)
from litgpt.domain.validators import integer_field, real_field

_GREEDY_TEMPERATURE = 1e-5
"""Below this temperature, sampling is greedy, as in vLLM: it is smaller than the spacing of typical float32
logits."""


class _ModelDefault(Enum):
    MODEL_DEFAULT = "model default"

    def __repr__(self) -> str:
        return self.name


ModelDefault: TypeAlias = Literal[_ModelDefault.MODEL_DEFAULT]
MODEL_DEFAULT: Final = _ModelDefault.MODEL_DEFAULT
"""Sentinel: use the model's default of a sampling parameter."""


@attrs.frozen(kw_only=True)
class SamplingParams:
    """Sampling parameters of the next token.

    They are applied in the order logit_bias, allowed_token_ids, bad_words, repetition_penalty,
    frequency_penalty and presence_penalty, DRY, min_tokens, logits_processor, temperature, top_k, typical_p,
    top_p, min_p, XTC. Among tokens of equal logits, the lowest id counts as the most likely.

    Attributes:
        temperature: Divides the logits; values below 1e-5 are greedy.
        top_k: The number of most likely tokens to sample from; None: all.
        top_p: Sample from the most likely tokens whose probabilities sum to this (nucleus sampling); 0 is
            greedy.
        min_p: Sample from the tokens with at least this fraction of the highest probability.
        typical_p: Sample from the tokens whose information content is the closest to the entropy, and whose
            probabilities sum to this (locally typical sampling).
        seed: Seed of this request, independent of other requests in the batch; None: random.
        repetition_penalty: Divides the positive logits and multiplies the negative ones of all tokens of the
            prompt and the answer, as in transformers.
        presence_penalty: Subtracted from the logits of the tokens of the answer, as in OpenAI's API.
        frequency_penalty: Subtracted from the logits of the tokens of the answer, times their number in it.
        logit_bias: Pairs of a token id and a number that is added to its logit.
        allowed_token_ids: The only tokens that can be sampled; None: all.
        bad_words: Sequences of token ids that do not appear in the answer: the last token is excluded after
            the others.
        min_tokens: The number of tokens before which no stop token is sampled.
        dry_multiplier: Scales the penalty of DRY; 0 disables it. The penalty of a token that would extend a
            repetition of n tokens of the text is `dry_multiplier * dry_base ** (n - dry_allowed_length)`.
        dry_base: See `dry_multiplier`.
        dry_allowed_length: The length n of the shortest repetition that is penalized.
        dry_breakers: Tokens at which a repetition begins anew.
        xtc_probability: The probability with which XTC excludes, at a token, all tokens of at least
            `xtc_threshold` except the least likely of them; 0 disables it.
        xtc_threshold: See `xtc_probability`.
        logits_processor: Functions that change the logits; see `LogitsProcessor`.
    """

    temperature: float = real_field(1.0)
    top_k: int | None = integer_field(None, 1)
    top_p: float = real_field(1.0, 1)
    min_p: float = real_field(0.0, 1)
    typical_p: float = real_field(1.0, 1, above=0)
    seed: int | None = integer_field(None, 0)
    repetition_penalty: float = real_field(1.0, least=1e-6)  # its inverse is finite
    presence_penalty: float = real_field(0.0, 2, least=-2)
    frequency_penalty: float = real_field(0.0, 2, least=-2)
    logit_bias: tuple[tuple[int, float], ...] = token_field(parse_logit_bias)
    allowed_token_ids: tuple[int, ...] | None = token_field(parse_allowed_token_ids, None)
    bad_words: tuple[tuple[int, ...], ...] = token_field(
        lambda value: parse_token_sequences("bad_words", value)
    )
    min_tokens: int = integer_field(0, 0)
    dry_multiplier: float = real_field(0.0)
    dry_base: float = real_field(1.75, least=1)
    dry_allowed_length: int = integer_field(2, 1)
    dry_breakers: tuple[int, ...] = token_field(lambda value: parse_token_ids("dry_sequence_breakers", value))
    xtc_probability: float = real_field(0.0, 1)
    xtc_threshold: float = real_field(0.1, 0.5)
    logits_processor: tuple[LogitsProcessor, ...] = token_field(parse_logits_processors)

    __repr__ = brief_repr

    @property
    def greedy(self) -> bool:
        """Whether only the most likely token can be sampled."""
        only_first = self.top_p == 0 and self.typical_p == 1  # typical_p may exclude the most likely token
        return self.temperature < _GREEDY_TEMPERATURE or only_first or self.top_k == 1

    @property
    def changes_logits(self) -> bool:
        """Whether the logits are changed before the temperature is applied."""
        return bool(
            self.logit_bias
            or self.allowed_token_ids is not None
            or self.bad_words
            or self.repetition_penalty != 1
            or self.presence_penalty
            or self.frequency_penalty
            or self.dry_multiplier
            or self.min_tokens
            or self.logits_processor
        )

    def check_vocabulary(self, vocab_size: int) -> None:
        """Check the token ids.

        Raises:
            InvalidArgument: An id is outside the vocabulary.
        """
        ids = {
            "logit_bias": [token for token, _ in self.logit_bias],
            "allowed_token_ids": self.allowed_token_ids or (),
            "bad_words": [token for sequence in self.bad_words for token in sequence],
        }
        for name, tokens in ids.items():
            if tokens and max(tokens) >= vocab_size:
                raise InvalidArgument(name, max(tokens), f"made of token ids from 0 to {vocab_size - 1}")


DEFAULT_SAMPLING_PARAMS = SamplingParams(temperature=0.8, top_k=50)
"""Defaults for models without sampling settings in generation_config.json, from LitGPT's commands."""

_PARAMETERS = ("temperature", "top_k", "top_p")
_FURTHER_PARAMETERS = ("min_p", "typical_p", "repetition_penalty")


def model_sampling_params(generation_config: Mapping[str, object]) -> SamplingParams:
    """Return the sampling defaults of a model.

    If `generation_config.json` has any of `do_sample`, `temperature`, `top_k` and `top_p`, the others have
    transformers' defaults (1.0, 50 and 1.0). `do_sample: false` is greedy; a `top_k` of 0 or -1 disables it.
    `min_p`, `typical_p` and `repetition_penalty` are read too.

    Raises:
        CorruptFile: A value is not a valid sampling parameter.
    """
    values, further = (
        {name: value for name in names if (value := generation_config.get(name)) is not None}
        for names in (_PARAMETERS, _FURTHER_PARAMETERS)
    )
    samples = generation_config.get("do_sample")
    defaults: dict[str, Any] = {"top_k": 50, **values}
    if samples is False:
        defaults = {"temperature": 0}
    elif not values and samples is None:
        defaults = {"temperature": 0.8, "top_k": 50}
    elif defaults["top_k"] in (0, -1):
        defaults["top_k"] = None
    try:
        return SamplingParams(**defaults, **further)  # type: ignore[arg-type] # converted and checked
    except InvalidArgument as error:
        raise CorruptFile("generation_config.json", f"it is not usable for sampling: {error}") from error
