"""How scores that fall with distance are read from a config ("ALiBi", arXiv:2108.12409)."""

import attrs

from litgpt.domain.architecture import Alibi
from litgpt.domain.families.settings import Key, Settings


@attrs.frozen(kw_only=True)
class Alibis:
    """How a family writes it.

    Attributes:
        enabled: Whether it has it at all.
        steepest: The setting with the power of a half that the least steep slope is.
        in_bfloat16: Whether slopes, and what they come to, were rounded to bfloat16 in training.
        scaled: Whether what they come to is multiplied as scores are.

    """

    enabled: Key | bool = True
    steepest: Key = Key("alibi_bias_max", 8)
    in_bfloat16: bool = False
    scaled: bool = False

    def read(self, settings: Settings, heads: int, scale: float) -> Alibi | None:
        """Return how scores fall; None: they do not.

        Args:
            settings: The config.
            heads: How many query heads there are.
            scale: What scores are multiplied by.

        """
        if not settings.flag(self.enabled):
            return None
        return Alibi(
            slopes=slopes(heads, settings.integer(self.steepest)),
            in_bfloat16=self.in_bfloat16,
            scale=scale if self.scaled else 1.0,
        )


def slopes(heads: int, steepest: int) -> tuple[float, ...]:
    """Return each head's slope: powers of a half, evenly spaced up to `steepest`.

    For a number of heads that is no power of two, the next power's slopes are taken: every second one, and
    then of the others as many as are needed.
    """
    rounded_up = 1 << (heads - 1).bit_length()
    evenly = [2.0 ** (-steepest * (head + 1) / rounded_up) for head in range(rounded_up)]
    if rounded_up == heads:
        return tuple(evenly)
    return tuple((evenly[1::2] + evenly[::2])[:heads])
