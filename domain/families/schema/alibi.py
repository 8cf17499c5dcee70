"""Read ALiBi (arXiv:2108.12409) from a config."""

import attrs

from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.model import AlibiSpec


@attrs.frozen(kw_only=True)
class AlibiSchema:
    """A family's ALiBi settings.

    Attributes:
        bias_max: Setting with the exponent of the flattest slope, `2 ** -bias_max`.
        in_bfloat16: Whether slopes and biases were rounded to bfloat16 in training.
        scaled: Whether the attention scale multiplies the biases too.
    """

    enabled: ConfigField | bool = True
    bias_max: ConfigField = ConfigField("alibi_bias_max", 8)
    in_bfloat16: bool = False
    scaled: bool = False

    def read(self, config: HFConfig, num_heads: int, scale: float) -> AlibiSpec | None:
        """Return the slopes of `num_heads` query heads with the attention scale `scale`; None if disabled."""
        if not config.flag(self.enabled):
            return None
        return AlibiSpec(
            slopes=alibi_slopes(num_heads, config.integer(self.bias_max)),
            in_bfloat16=self.in_bfloat16,
            scale=scale if self.scaled else 1.0,
        )


def alibi_slopes(num_heads: int, bias_max: int) -> tuple[float, ...]:
    """Return each head's slope: powers of 1/2 whose exponents are evenly spaced up to `bias_max`.

    If the number of heads is not a power of two, the slopes are a subset of the next power's slopes: every
    second one, then as many of the remaining ones as needed.
    """
    rounded_up = 1 << (num_heads - 1).bit_length()
    evenly = [2.0 ** (-bias_max * (head + 1) / rounded_up) for head in range(rounded_up)]
    if rounded_up == num_heads:
        return tuple(evenly)
    return tuple((evenly[1::2] + evenly[::2])[:num_heads])
