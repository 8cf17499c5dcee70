"""Normalization layers."""

from collections.abc import Iterator
from typing import Literal

import attrs

from litgpt.domain.model.parameter_spec import ParameterRole, ParameterSpec, tensor
from litgpt.domain.model.sharding import REPLICATED, Sharding


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

    def parameters(self, name: str, size: int, *, sharding: Sharding = REPLICATED) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`, a norm over `size` elements."""
        if self.weight:
            role: ParameterRole = "norm_from_1" if self.unit_offset else "norm"
            yield tensor(f"{name}.weight", size, role=role, sharding=sharding)
        if self.bias:
            yield tensor(f"{name}.bias", size, role="bias", sharding=sharding)
