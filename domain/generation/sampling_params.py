"""Sampling parameters, and the defaults of a model in `generation_config.json`."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

import attrs

from litgpt.domain.errors import CorruptFile, InvalidArgument
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
    """Sampling parameters of the next token, applied in the order top_k, temperature, top_p.

    Attributes:
        temperature: Divides the logits; values below 1e-5 are greedy.
        top_k: The number of most likely tokens to sample from; None: all.
        top_p: Sample from the most likely tokens whose probabilities sum to this (nucleus sampling); 0 is
            greedy.
        seed: Seed of this request, independent of other requests in the batch; None: random.
    """

    temperature: float = real_field(1.0)
    top_k: int | None = integer_field(None, 1)
    top_p: float = real_field(1.0, 1)
    seed: int | None = integer_field(None, 0)

    @property
    def greedy(self) -> bool:
        """Whether only the most likely token can be sampled."""
        return self.temperature < _GREEDY_TEMPERATURE or self.top_p == 0 or self.top_k == 1


DEFAULT_SAMPLING_PARAMS = SamplingParams(temperature=0.8, top_k=50)
"""Defaults for models without sampling settings in generation_config.json, from LitGPT's commands."""

_PARAMETERS = ("temperature", "top_k", "top_p")


def model_sampling_params(generation_config: Mapping[str, object]) -> SamplingParams:
    """Return the sampling defaults of a model.

    If `generation_config.json` has any of `do_sample`, `temperature`, `top_k` and `top_p`, the others have
    transformers' defaults (1.0, 50 and 1.0). `do_sample: false` is greedy; a `top_k` of 0 or -1 disables it.

    Raises:
        CorruptFile: A value is not a valid sampling parameter.
    """
    values: dict[str, Any] = {
        name: value for name in _PARAMETERS if (value := generation_config.get(name)) is not None
    }
    samples = generation_config.get("do_sample")
    if samples is False:
        return SamplingParams(temperature=0)
    if not values and samples is None:
        return DEFAULT_SAMPLING_PARAMS
    if values.get("top_k") in (0, -1):
        values["top_k"] = None
    try:
        return SamplingParams(**{"top_k": 50, **values})
    except InvalidArgument as error:
        raise CorruptFile("generation_config.json", f"it is not usable for sampling: {error}") from error
