"""How the next token is drawn, and what a model asks for where its user does not."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

import attrs

from litgpt.domain.errors import CorruptFile, InvalidArgument
from litgpt.domain.validators import integer_field, real_field

_GREEDY_TEMPERATURE = 1e-5
"""The temperature under which only the likeliest token is left: neighboring float32 logits of usual size lie
further apart than this. vLLM draws the line at the same place."""


class _ModelDefault(Enum):
    MODEL_DEFAULT = "model default"

    def __repr__(self) -> str:
        return self.name


ModelDefault: TypeAlias = Literal[_ModelDefault.MODEL_DEFAULT]
MODEL_DEFAULT: Final = _ModelDefault.MODEL_DEFAULT
"""The value of a sampling parameter that is left to the model; neither a number nor None."""


@attrs.frozen(kw_only=True)
class SamplingParams:
    """How to draw the next token from the logits: first top_k, then temperature, then top_p.

    Attributes:
        temperature: Divides the logits. 0, and anything below 1e-5, always takes the likeliest token.
        top_k: How many of the likeliest tokens to keep. None keeps every token.
        top_p: Keep the likeliest tokens until their probabilities sum to this. 0 takes the likeliest.
        seed: Makes the draw repeatable, whatever else is generated beside it. None draws a seed.

    """

    temperature: float = real_field(1.0)
    top_k: int | None = integer_field(None, 1)
    top_p: float = real_field(1.0, 1)
    seed: int | None = integer_field(None, 0)

    @property
    def greedy(self) -> bool:
        """Whether these settings leave only the likeliest token."""
        return self.temperature < _GREEDY_TEMPERATURE or self.top_p == 0 or self.top_k == 1


DEFAULT_SAMPLING_PARAMS = SamplingParams(temperature=0.8, top_k=50)
"""For a model whose generation_config.json has no sampling settings: the defaults of LitGPT's commands."""

_PARAMETERS = ("temperature", "top_k", "top_p")


def model_sampling_params(generation_config: Mapping[str, object]) -> SamplingParams:
    """Return the sampling defaults of a model.

    They are the values of `generation_config.json` if it has any of `do_sample`, `temperature`, `top_k` and
    `top_p`; what it then leaves out has transformers' defaults (1.0, 50 and 1.0), which its author relied on.
    `do_sample: false` is greedy, and a `top_k` of 0 or -1 keeps every token.

    Args:
        generation_config: The contents of `generation_config.json`.

    Raises:
        DamagedFile: A value cannot be a sampling parameter.

    """
    given: dict[str, Any] = {
        name: value for name in _PARAMETERS if (value := generation_config.get(name)) is not None
    }
    samples = generation_config.get("do_sample")
    if samples is False:
        return SamplingParams(temperature=0)
    if not given and samples is None:
        return DEFAULT_SAMPLING_PARAMS
    if given.get("top_k") in (0, -1):
        given["top_k"] = None
    try:
        return SamplingParams(**{"top_k": 50, **given})
    except InvalidArgument as error:
        raise CorruptFile("generation_config.json", f"it is not usable for sampling: {error}") from error
