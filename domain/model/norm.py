"""Normalization layers."""

from collections.abc import Iterator
from typing import Literal

import attrs

from litgpt.domain.model.parameter_spec import ParameterRole, ParameterSpec, linear, tensor
from litgpt.domain.model.sharding import REPLICATED, Sharding


@attrs.frozen(kw_only=True)
class NormSpec:
    """RMSNorm or LayerNorm over the last dimension.

    Attributes:
        kind: `rms` (Zhang & Sennrich 2019, arXiv:1910.07467) or `layer` (Ba et al. 2016, arXiv:1607.06450).
        eps: Added to the mean square or variance.
        unit_offset: Whether the factor is `1 + weight` (Gemma, Nemotron).
        gate_rank: Rank of the gate `sigmoid(up(silu(down(y))))` of the result `y`; None: no gate (A.X K2).
    """

    kind: Literal["rms", "layer"] = "rms"
    eps: float
    unit_offset: bool = False
    weight: bool = True
    bias: bool = False
    gate_rank: int | None = None

    def parameters(self, name: str, size: int, *, sharding: Sharding = REPLICATED) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`, a norm over `size` elements."""
        if self.gate_rank is not None:
            yield from attrs.evolve(self, gate_rank=None).parameters(f"{name}.norm", size, sharding=sharding)
            yield from linear(f"{name}.gate_down", self.gate_rank, size)
            yield from linear(f"{name}.gate_up", size, self.gate_rank)
            return
        if self.weight:
            role: ParameterRole = "norm_from_1" if self.unit_offset else "norm"
            yield tensor(f"{name}.weight", size, role=role, sharding=sharding)
        if self.bias:
            yield tensor(f"{name}.bias", size, role="bias", sharding=sharding)
