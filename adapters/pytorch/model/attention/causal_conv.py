"""A causal depthwise convolution over the last few tokens."""

# B batch, T tokens of this call, C channels, K kernel size

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.recurrent_state import RecurrentState


class CausalConv(nn.Module):
    """A causal convolution of each channel, which continues from the state of a cache."""

    bias: Tensor | None

    def __init__(self, channels: int, kernel_size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel_size))
        self.register_parameter("bias", nn.Parameter(torch.empty(channels)) if bias else None)

    def forward(self, x: Tensor, cache: RecurrentState | None) -> Tensor:
        """Return the convolution (B, C, T) of `x` (B, C, T).

        The last K - 1 inputs become the `conv_state` of `cache`. Without a cache, zeros precede `x`.
        """
        channels, _, kernel_size = self.weight.shape
        if cache is None:
            x = functional.pad(x, (kernel_size - 1, 0))
        else:
            x = torch.cat((cache.conv_state, x), -1)
            cache.conv_state.copy_(x[..., x.shape[-1] - cache.conv_state.shape[-1] :])
        if x.shape[-1] > kernel_size:
            return functional.conv1d(x, self.weight, self.bias, groups=channels)
        convolved = (x * self.weight[:, 0]).sum(-1, keepdim=True)  # a single token: faster than conv1d
        return convolved if self.bias is None else convolved + self.bias[:, None]
