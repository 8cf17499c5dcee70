"""Normalization layers."""

from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class NormSpec:
    """RMSNorm or LayerNorm over the last dimension.

    Attributes:
        kind: `rms` (Zhang & Sennrich 2019, arXiv:1910.07467) or `layer` (Ba et al. 2016, arXiv:1607.06450).
        eps: Added to the mean square or variance.
        unit_offset: Whether the factor is `1 + weight` (Gemma, Nemotron).
    """

    kind: Literal["rms", "layer"] = "rms"
    eps: float
    unit_offset: bool = False
    weight: bool = True
    bias: bool = False
