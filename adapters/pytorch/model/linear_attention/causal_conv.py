"""The short causal depthwise convolution of mixers with a recurrent state."""

# B batch, C channels, T tokens of this call, K kernel size

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState


class CausalConv(nn.Module):
    """A depthwise convolution over the last K tokens of each channel.

    Attributes:
        weight: (C, 1, K).
        bias: (C,), or None.
    """

    bias: Tensor | None

    def __init__(self, channels: int, kernel_size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel_size))
        self.register_parameter("bias", nn.Parameter(torch.empty(channels)) if bias else None)

    def forward(self, x: Tensor, state: RecurrentState | None) -> Tensor:
        """Return the convolution (B, C, T) of `x` (B, C, T), whose last tokens are written to `state`.

        `state` has the preceding tokens; if None, they are zeros.
        """
        channels, _, size = self.weight.shape
        if state is None:
            x = functional.pad(x, (size - 1, 0))
        else:
            x = torch.cat((state.conv_state, x), -1)
            state.conv_state.copy_(x[..., x.shape[-1] - state.conv_state.shape[-1] :])
        if x.shape[-1] != size:
            return functional.conv1d(x, self.weight, self.bias, groups=channels)
        out = (x * self.weight[:, 0]).sum(-1, keepdim=True)  # a single token: faster than conv1d
        return out if self.bias is None else out + self.bias[:, None]
