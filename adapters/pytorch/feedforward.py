"""The feed-forward parts of a layer."""

from collections.abc import Callable
from functools import partial
from statistics import NormalDist

from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.linear import Linear
from litgpt.adapters.pytorch.xielu import XIELU
from litgpt.domain.architecture import Activation, Bounds, FeedForward, GatedFeedForward

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),
}


class MLP(nn.Module):
    """`proj(activation(fc(x)))`."""

    def __init__(self, width: int, feed_forward: FeedForward) -> None:
        super().__init__()
        self.fc = Linear(width, feed_forward.size, bias=feed_forward.bias)
        self.proj = Linear(feed_forward.size, width, bias=feed_forward.bias)
        bends = feed_forward.activation
        self.activation = XIELU() if bends == "xielu" else ACTIVATIONS[bends]

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, width) for `x` of that shape."""
        out: Tensor = self.proj(self.activation(self.fc(x)))
        return out


class GatedMLP(nn.Module):
    """`proj(activation(fc_1(x)) * fc_2(x))` (arXiv:2002.05202)."""

    def __init__(self, width: int, feed_forward: GatedFeedForward) -> None:
        super().__init__()
        self.fc_1 = Linear(width, feed_forward.size, bias=feed_forward.bias)
        self.fc_2 = Linear(width, feed_forward.size, bias=feed_forward.bias)
        self.proj = Linear(feed_forward.size, width, bias=feed_forward.bias)
        self.activation = ACTIVATIONS[feed_forward.activation]
        self.bounds = feed_forward.bounds
        sparsity = feed_forward.sparsity
        self.deviations = NormalDist().inv_cdf(sparsity) if sparsity else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, width) for `x` of that shape."""
        if self.bounds is not None:
            return self._bounded(x, self.bounds)
        gate = self.fc_1(x)
        if self.deviations is not None:
            gate = _thresholded(gate, self.deviations)
        out: Tensor = self.proj(self.activation(gate) * self.fc_2(x))
        return out

    def _bounded(self, x: Tensor, bounds: Bounds) -> Tensor:
        gate = self.fc_1(x).clamp(max=bounds.limit)
        let_through = self.fc_2(x).clamp(-bounds.limit, bounds.limit) + bounds.lift
        out: Tensor = self.proj(gate * functional.sigmoid(gate * bounds.sharpness) * let_through)
        return out


def _thresholded(x: Tensor, deviations: float) -> Tensor:
    """Return what of `x` is more than so many standard deviations above its mean, counted from there."""
    deviation = x.std(-1, keepdim=True, correction=0)
    return functional.relu(x - (x.mean(-1, keepdim=True) + deviation * deviations))
