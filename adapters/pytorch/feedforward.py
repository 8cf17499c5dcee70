"""The feed-forward parts of a layer."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.linear import Linear
from litgpt.domain.architecture import Activation, FeedForward, GatedFeedForward

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
        self.activation = ACTIVATIONS[feed_forward.activation]

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

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, width) for `x` of that shape."""
        out: Tensor = self.proj(self.activation(self.fc_1(x)) * self.fc_2(x))
        return out
