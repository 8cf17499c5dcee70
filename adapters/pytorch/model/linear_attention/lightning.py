"""Lightning attention: linear attention with a constant decay of each head (arXiv:2401.04658)."""

# B batch, T tokens of this call, H heads, E head size, L tokens in a chunk, D hidden size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.adapters.pytorch.model.mlp import ACTIVATIONS
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import LightningSpec

_CHUNK_SIZE = 128


class LightningAttention(nn.Module):
    """Lightning attention of one layer; the rows of `qkv_proj` are all queries, then keys, then values."""

    def __init__(self, hidden_size: int, spec: LightningSpec) -> None:
        super().__init__()
        self.spec = spec
        rows = spec.num_heads * spec.head_dim
        self.qkv_proj = Linear(hidden_size, 3 * rows, bias=False)
        self.output_gate = Linear(hidden_size, rows, bias=False)
        self.norm = Norm(rows, spec.norm)
        self.out_proj = Linear(rows, hidden_size, bias=False)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        """Return the output (B, T, D) of `x` (B, T, D)."""
        del position, cache_position  # the state has no positions
        qkv = self.activation(self.qkv_proj(x))
        if mask.padding_mask is not None:  # zero keys and values leave an initial state unchanged
            qkv = qkv * mask.padding_mask[..., None]
        queries, keys, values = (
            part.unflatten(-1, (self.spec.num_heads, -1)).transpose(1, 2).float() for part in qkv.chunk(3, -1)
        )
        decay = torch.tensor(self.spec.decay, device=x.device)
        row_cache = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - determined by the architecture
            row_cache = cache.first_rows(len(x))
            state = row_cache.recurrent_state
        else:
            state = keys.new_zeros((*keys.shape[:2], keys.shape[-1], values.shape[-1]))
        output, state = decayed_linear_attention(queries, keys, values, decay, state)
        if row_cache is not None:
            row_cache.recurrent_state.copy_(state)
        normed = self.norm(output.transpose(1, 2).flatten(-2).to(x.dtype))
        out: Tensor = self.out_proj(self.output_gate(x).sigmoid() * normed)
        return out


def decayed_linear_attention(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the output (B, H, T, E) and the state (B, H, E, E) after the last token, in float32.

    Args:
        queries: (B, H, T, E).
        keys: (B, H, T, E).
        values: (B, H, T, E).
        decay: (H,), the negative logarithm of the factor of the state.
        state: (B, H, E, E), before the first token.
    """
    outputs = []
    for query, key, value in zip(
        *(part.split(_CHUNK_SIZE, 2) for part in (queries, keys, values)), strict=True
    ):
        steps = torch.arange(query.shape[2], device=decay.device)
        distance = steps[:, None] - steps
        weights = (-decay[:, None, None] * distance).exp().masked_fill(distance < 0, 0)
        since_start = (-decay[:, None] * (steps + 1)).exp()[..., None]
        until_end = (-decay[:, None] * (len(steps) - 1 - steps)).exp()[..., None]
        within = (query @ key.transpose(-1, -2) * weights) @ value
        outputs.append(within + (query * since_start) @ state)
        state = state * since_start[:, -1:] + (key * until_end).transpose(-1, -2) @ value
    return torch.cat(outputs, 2), state
