"""MLPs with and without a gate."""

from collections.abc import Callable
from functools import partial
from statistics import NormalDist

from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.xielu import XIELU
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import Activation, GatedMLPSpec, MLPSpec, SwigluClamp

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
}


class MLP(nn.Module):
    """`proj(activation(fc(x)))`."""

    def __init__(self, hidden_size: int, spec: MLPSpec) -> None:
        super().__init__()
        self.fc = Linear(hidden_size, spec.intermediate_size, bias=spec.bias)
        self.proj = Linear(spec.intermediate_size, hidden_size, bias=spec.bias)
        activation = spec.activation
        self.activation = XIELU() if activation == "xielu" else ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.proj(self.activation(self.fc(x)))
        return out


class GatedMLP(nn.Module):
    """`proj(activation(fc_1(x)) * fc_2(x))` (arXiv:2002.05202)."""

    def __init__(self, hidden_size: int, spec: GatedMLPSpec) -> None:
        super().__init__()
        self.fc_1 = Linear(hidden_size, spec.intermediate_size, bias=spec.bias)
        self.fc_2 = Linear(hidden_size, spec.intermediate_size, bias=spec.bias)
        self.proj = Linear(spec.intermediate_size, hidden_size, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]
        self.clamp, self.gate_scale, self.output_scale = spec.clamp, spec.gate_scale, spec.output_scale
        sparsity = spec.activation_sparsity
        self.sparsity_threshold = NormalDist().inv_cdf(sparsity) if sparsity else None

    def forward(self, x: Tensor) -> Tensor:
        if self.clamp is not None:
            return self._clamped(x, self.clamp)
        gate = self.fc_1(x)
        if self.sparsity_threshold is not None:
            gate = _gaussian_topk(gate, self.sparsity_threshold)
        if self.gate_scale != 1:
            gate = gate * self.gate_scale
        out: Tensor = self.proj(self.activation(gate) * self.fc_2(x))
        return out if self.output_scale == 1 else out * self.output_scale

    def _clamped(self, x: Tensor, clamp: SwigluClamp) -> Tensor:
        gate = self.fc_1(x).clamp(max=clamp.limit)
        up = self.fc_2(x).clamp(-clamp.limit, clamp.limit) + clamp.offset
        out: Tensor = self.proj(gate * functional.sigmoid(gate * clamp.alpha) * up)
        return out


def _gaussian_topk(x: Tensor, threshold: float) -> Tensor:
    """Return `relu(x - (mean + threshold * std))`: activation sparsity (transformers' Gemma3nTextMLP)."""
    deviation = x.std(-1, keepdim=True, correction=0)
    return functional.relu(x - (x.mean(-1, keepdim=True) + deviation * threshold))
