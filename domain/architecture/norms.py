"""Normalisations."""

from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class Norm:
    """A normalisation over the last dimension.

    Attributes:
        kind: `rms` divides by the root mean square (Zhang & Sennrich 2019, arXiv:1910.07467); `layer` also
            takes the mean away (Ba et al. 2016, arXiv:1607.06450).
        eps: Added to the mean square.
        unit_offset: Whether the stored weight counts from 1, so that 0 means 1 (Gemma, Nemotron).
        weight: Whether the result is multiplied by learnt numbers.
        bias: Whether learnt numbers are added to it.

    """

    kind: Literal["rms", "layer"] = "rms"
    eps: float
    unit_offset: bool = False
    weight: bool = True
    bias: bool = False
