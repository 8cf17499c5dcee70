"""LayerNorm and RMSNorm."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import NormSpec


class Norm(nn.Module):
    """Normalizes the last dimension, in float32 internally.

    `num_heads` heads are normalized separately, each with its own weights.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, size: int, spec: NormSpec, *, num_heads: int = 1) -> None:
        super().__init__()
        self.spec, self.shape, self.num_heads = spec, (size,), num_heads
        self.register_parameter(
            "weight", nn.Parameter(torch.empty(num_heads * size)) if spec.weight else None
        )
        self.register_parameter("bias", nn.Parameter(torch.empty(num_heads * size)) if spec.bias else None)

    def forward(self, x: Tensor) -> Tensor:
        norm, weight, bias = self.spec, self.weight, self.bias
        fused = norm.kind == "layer" or bias is None  # torch's rms_norm does not support a bias
        if fused and not norm.unit_offset and self.num_heads == 1:
            return self._normalize(x, weight, bias)
        # 1 + weight is computed in float32: in bfloat16, a small weight would be rounded away.
        result = self._normalize(x.float(), None, None)
        if weight is not None:
            weight = weight.float() + 1.0 if norm.unit_offset else weight.float()
            result = result * weight.view(self.weight_shape)
        if bias is not None:
            result = result + bias.float().view(self.weight_shape)
        return result.to(x.dtype)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape in which weights broadcast against the input."""
        return (self.num_heads, *self.shape) if self.num_heads > 1 else self.shape

    def _normalize(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if self.spec.kind == "rms":
            return functional.rms_norm(x, self.shape, weight, self.spec.eps)
        return functional.layer_norm(x, self.shape, weight, bias, self.spec.eps)


class GatedNorm(nn.Module):
    """A norm whose result is multiplied by a gate that is computed from it."""

    def __init__(self, size: int, spec: NormSpec, gate_rank: int) -> None:
        super().__init__()
        self.norm = Norm(size, spec)
        self.gate_down = Linear(size, gate_rank, bias=False)
        self.gate_up = Linear(gate_rank, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        gate: Tensor = self.gate_up(functional.silu(self.gate_down(y)))
        result: Tensor = (y * gate.float().sigmoid()).to(y.dtype)
        return result


def build_norm(size: int, spec: NormSpec | None) -> nn.Module:
    """Return a norm, or the identity if `spec` is None."""
    if spec is None:
        return nn.Identity()
    return Norm(size, spec) if spec.gate_rank is None else GatedNorm(size, spec, spec.gate_rank)
