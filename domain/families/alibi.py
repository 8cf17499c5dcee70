"""Read ALiBi (arXiv:2108.12409) from a config."""

import attrs

from litgpt.domain.architecture import Alibi
from litgpt.domain.families.settings import Key, Settings


@attrs.frozen(kw_only=True)
class Alibis:
    """A family's ALiBi settings.

    Attributes:
        enabled: Whether the model uses ALiBi.
        steepest: Setting with the exponent of the flattest slope, `2 ** -steepest`.
        in_bfloat16: Whether slopes and biases were rounded to bfloat16 in training.
        scaled: Whether the attention scale multiplies the biases too.

    """

    enabled: Key | bool = True
    steepest: Key = Key("alibi_bias_max", 8)
    in_bfloat16: bool = False
    scaled: bool = False

    def read(self, settings: Settings, heads: int, scale: float) -> Alibi | None:
        """Return the slopes of `heads` query heads with the attention scale `scale`; None if disabled."""
        if not settings.flag(self.enabled):
            return None
        return Alibi(
            slopes=slopes(heads, settings.integer(self.steepest)),
            in_bfloat16=self.in_bfloat16,
            scale=scale if self.scaled else 1.0,
        )


def slopes(heads: int, steepest: int) -> tuple[float, ...]:
    """Return each head's slope: powers of 1/2 whose exponents are evenly spaced up to `steepest`.

    If the number of heads is not a power of two, the slopes are a subset of the next power's slopes: every
    second one, then as many of the remaining ones as needed.
    """
    rounded_up = 1 << (heads - 1).bit_length()
    evenly = [2.0 ** (-steepest * (head + 1) / rounded_up) for head in range(rounded_up)]
    if rounded_up == heads:
        return tuple(evenly)
    return tuple((evenly[1::2] + evenly[::2])[:heads])
