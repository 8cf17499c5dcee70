"""How positions enter attention: rotary embedding, and how it was stretched for longer texts."""

import math
from typing import TypeAlias

import attrs

from litgpt.domain.messages import brief_repr


@attrs.frozen(kw_only=True)
class LinearScaling:
    """Positions divided by a factor (Chen et al. 2023, arXiv:2306.15595)."""

    factor: float


@attrs.frozen(kw_only=True)
class Llama3Scaling:
    """Llama 3.1's scaling: long wavelengths divided by `factor`, short ones kept, a blend between.

    Attributes:
        factor: Divides the frequencies of long wavelengths.
        low_freq_factor: Wavelengths above `original_context / low_freq_factor` are long.
        high_freq_factor: Wavelengths below `original_context / high_freq_factor` are short.
        original_context: The context that the model was first trained with.

    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@attrs.frozen(kw_only=True)
class YarnScaling:
    """YaRN: slow pairs divided by `factor`, fast ones kept, a ramp between (arXiv:2309.00071).

    Attributes:
        factor: Divides the frequencies of slow pairs.
        original_context: The context that the model was first trained with.
        beta_fast: Pairs that turn more often than this within the original context are kept.
        beta_slow: Pairs that turn less often are divided.
        truncate: Whether the ramp begins and ends at whole pairs.
        magnitude: What cosines and sines are multiplied by.

    """

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    magnitude: float = 1.0

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class FixedFactors:
    """Each pair's frequency divided by a factor of its own.

    Attributes:
        factors: One for each pair.
        magnitude: What cosines and sines are multiplied by.

    """

    factors: tuple[float, ...] = attrs.field(repr=False)
    magnitude: float = 1.0

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class LongRopeScaling:
    """LongRoPE: one set of factors for texts within the original context, another for longer ones.

    Source: Ding et al. 2024, arXiv:2402.13753.

    Attributes:
        short: The factors of each pair for a text of up to `original_context` tokens.
        long: Those for a longer one.
        original_context: The context that the model was first trained with.
        magnitude: What cosines and sines are multiplied by.
        long_magnitude: What they are multiplied by for a longer text; None: the same.

    """

    short: tuple[float, ...] = attrs.field(repr=False)
    long: tuple[float, ...] = attrs.field(repr=False)
    original_context: int
    magnitude: float = 1.0
    long_magnitude: float | None = None

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class DynamicScaling:
    """A base that grows with the text, once it exceeds the original context ("dynamic NTK").

    Source: bloc97 and emozilla 2023, as told in section 3.3 of arXiv:2309.00071.

    Attributes:
        factor: How fast the base grows.
        original_context: The context that the model was first trained with.

    """

    factor: float
    original_context: int


Scaling: TypeAlias = (
    LinearScaling | Llama3Scaling | YarnScaling | FixedFactors | LongRopeScaling | DynamicScaling
)


@attrs.frozen(kw_only=True)
class Rotary:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864).

    Attributes:
        size: How many of a head's numbers are rotated, from the first.
        base: The wavelength's base, theta.
        scaling: How the frequencies were stretched for a longer context, if they were.
        interleaved: Whether neighbours are a pair, (0, 1), (2, 3), …; otherwise the two halves are, (0,
            size/2), ….
        turning: How many pairs turn at all, from the first; None turns all.

    """

    size: int
    base: float
    scaling: Scaling | None = None
    interleaved: bool = False
    turning: int | None = None

    __repr__ = brief_repr

    def for_text(self, tokens: int) -> "Rotary":
        """Return the rotary embedding of a text that may become `tokens` long; most are the same for all.

        A text is rotated in one way from its first token to its last, so that what was computed token by
        token is what one pass over the whole text computes.
        """
        match self.scaling:
            case LongRopeScaling() as it:
                longer = tokens > it.original_context
                magnitude = it.long_magnitude if longer and it.long_magnitude else it.magnitude
                factors = it.long if longer else it.short
                return attrs.evolve(self, scaling=FixedFactors(factors=factors, magnitude=magnitude))
            case DynamicScaling(factor=factor, original_context=context):
                grown = factor * max(tokens, context) / context - (factor - 1)
                return attrs.evolve(
                    self, base=self.base * grown ** (self.size / (self.size - 2)), scaling=None
                )
            case _:
                return self


@attrs.frozen(kw_only=True)
class QueryScaling:
    """Queries that grow with their position, so that attention stays as sharp over long texts (Llama 4).

    A query at position `p` is multiplied by `1 + beta * log(1 + floor((p + ahead) / every))`.

    Attributes:
        beta: How fast they grow.
        every: After how many tokens they grow.
        ahead: From where positions count.

    """

    beta: float
    every: int
    ahead: int = 0


@attrs.frozen(kw_only=True)
class Alibi:
    """Scores that fall with the distance between tokens ("ALiBi", Press et al. 2021, arXiv:2108.12409).

    To the score of a token is added its position times a slope, which to a softmax is the same.

    Attributes:
        slopes: One for each query head.
        scale: Multiplies what they come to.
        in_bfloat16: Whether slopes, and what they come to, are rounded to bfloat16, as in training (Falcon).

    """

    slopes: tuple[float, ...] = attrs.field(repr=False)
    scale: float = 1.0
    in_bfloat16: bool = False


def yarn_magnitude(factor: float, strength: float = 1.0) -> float:
    """Return what YaRN multiplies by so that attention stays as sharp as it was (the paper, section 3.4)."""
    return 1.0 if factor <= 1 else 0.1 * strength * math.log(factor) + 1.0
