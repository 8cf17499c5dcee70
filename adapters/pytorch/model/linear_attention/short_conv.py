"""Gated short convolutions (arXiv:2511.23404)."""

# B batch, T tokens of this call, D hidden size, C channels

from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.adapters.pytorch.model.linear_attention.causal_conv import CausalConv
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import ShortConvSpec


class ShortConv(nn.Module):
    """The gated short convolution of one layer; the rows of `in_proj` are both gates, then the values."""

    def __init__(self, hidden_size: int, spec: ShortConvSpec) -> None:
        super().__init__()
        self.in_proj = Linear(hidden_size, 3 * spec.channels, bias=spec.bias)
        self.conv = CausalConv(spec.channels, spec.kernel_size, bias=spec.bias)
        self.out_proj = Linear(spec.channels, hidden_size, bias=spec.bias)

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        """Return the output (B, T, D) of `x` (B, T, D)."""
        del position, cache_position  # a convolution has no positions
        input_gate, output_gate, values = self.in_proj(x).chunk(3, -1)
        gated = input_gate * values
        if mask.padding_mask is not None:  # zero inputs leave an initial state unchanged
            gated = gated * mask.padding_mask[..., None]
        row_cache = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - determined by the architecture
            row_cache = cache.first_rows(len(x))
        convolved = self.conv(gated.transpose(1, 2), row_cache).transpose(1, 2)
        out: Tensor = self.out_proj(output_gate * convolved)
        return out
