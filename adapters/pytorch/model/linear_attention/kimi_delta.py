"""Kimi Delta Attention: the gated delta rule with a decay for each channel (arXiv:2510.26692)."""

# B batch, T tokens of this call, H heads, E head size, L tokens in a chunk, D hidden size

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.adapters.pytorch.model.linear_attention.causal_conv import CausalConv
from litgpt.adapters.pytorch.model.mlp import ACTIVATIONS
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import KimiDeltaSpec

# The decay between each two tokens of a chunk has a value for each channel: larger chunks need more memory.
_CHUNK_SIZE = 16
# Epsilon of the L2 norm of queries and keys, as in training.
_EPS = 1e-6


class KimiDeltaAttention(nn.Module):
    """Kimi Delta Attention of one layer; the rows of `qkv` are all queries, then keys, then values."""

    def __init__(self, hidden_size: int, spec: KimiDeltaSpec) -> None:
        super().__init__()
        self.spec = spec
        rows, rank = spec.split_sizes[0], spec.gate_rank
        self.qkv = Linear(hidden_size, 3 * rows, bias=False)
        self.conv = CausalConv(3 * rows, spec.conv_kernel_size)
        if rank is None:
            self.f_proj = Linear(hidden_size, rows, bias=False)
            self.g_proj = Linear(hidden_size, rows, bias=False)
        else:
            self.f_a_proj = Linear(hidden_size, rank, bias=False)
            self.f_b_proj = Linear(rank, rows, bias=False)
            self.g_a_proj = Linear(hidden_size, rank, bias=False)
            self.g_b_proj = Linear(rank, rows, bias=False)
        self.b_proj = Linear(hidden_size, spec.num_heads, bias=False)
        self.dt_bias = nn.Parameter(torch.empty(rows))
        self.A_log = nn.Parameter(torch.empty(spec.num_heads))
        self.norm = Norm(spec.head_dim, spec.norm)
        self.proj = Linear(rows, hidden_size, bias=False)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        """Return the output (B, T, D) of `x` (B, T, D)."""
        del position, cache_position  # the state has no positions
        qkv = self.qkv(x)
        if mask.padding_mask is not None:  # zero inputs leave an initial state unchanged
            qkv = qkv * mask.padding_mask[..., None]
        row_cache = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - determined by the architecture
            row_cache = cache.first_rows(len(x))
        convolved = self.activation(self.conv(qkv.transpose(1, 2), row_cache)).transpose(1, 2)
        queries, keys, values = (self._heads(part.float()) for part in convolved.chunk(3, -1))
        queries, keys = (
            heads * (heads.square().sum(-1, keepdim=True) + _EPS).rsqrt() for heads in (queries, keys)
        )
        if row_cache is None:
            state = keys.new_zeros((*keys.shape[:2], keys.shape[-1], values.shape[-1]))
        else:
            state = row_cache.recurrent_state
        beta = self.b_proj(x).float().sigmoid().transpose(1, 2)[..., None]
        output, state = kimi_delta_rule(
            queries * self.spec.head_dim**-0.5, keys, values, self._log_decay(x), beta, state
        )
        if row_cache is not None:
            row_cache.recurrent_state.copy_(state)
        output = self.norm(output.transpose(1, 2).to(x.dtype)).flatten(-2)
        gate = self.g_proj(x) if self.spec.gate_rank is None else self.g_b_proj(self.g_a_proj(x))
        out: Tensor = self.proj((output.float() * gate.float().sigmoid()).to(x.dtype))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """Return (B, H, T, E) for `x` (B, T, H * E)."""
        heads: Tensor = x.unflatten(-1, (self.spec.num_heads, -1))
        return heads.transpose(1, 2)

    def _log_decay(self, x: Tensor) -> Tensor:
        """Return the logarithm of the decay (B, H, T, E), in float32."""
        gate = self.f_proj(x) if self.spec.gate_rank is None else self.f_b_proj(self.f_a_proj(x))
        steps = self._heads(gate.float() + self.dt_bias.float())
        rate = self.A_log.float().exp()[:, None, None]
        bound = self.spec.decay_lower_bound
        return -rate * functional.softplus(steps) if bound is None else bound * (rate * steps).sigmoid()


def kimi_delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply the delta rule with a decay for each channel to all tokens, in float32.

    Args:
        queries: (B, H, T, E).
        keys: (B, H, T, E).
        values: (B, H, T, E).
        decay: (B, H, T, E), logarithm of the factor of each row of the state.
        beta: (B, H, T, 1), strength of the update, between 0 and 1.
        state: (B, H, E, E), before the first token.

    Returns:
        The output (B, H, T, E), and the state after the last token.
    """
    outputs = []
    parts = (part.split(_CHUNK_SIZE, 2) for part in (queries, keys, values, decay.float(), beta))
    for query, key, value, log_decay, strength in zip(*parts, strict=True):
        since_start = log_decay.cumsum(2)
        length = query.shape[2]
        future = torch.ones((length, length), dtype=torch.bool, device=query.device).triu(1)
        between = since_start[:, :, :, None] - since_start[:, :, None]
        weights = between.masked_fill(future[..., None], -torch.inf).exp()  # (B, H, L, L, E)
        weighted_keys = weights * key[:, :, None]
        # The update of a token is its value minus its prediction from the state before the chunk and from the
        # updates of earlier tokens of the chunk, hence the triangular system.
        update = torch.linalg.solve_triangular(
            (weighted_keys @ (key * strength)[..., None])[..., 0],
            strength * (value - (key * since_start.exp()) @ state),
            upper=False,
            unitriangular=True,
        )
        attention = (weighted_keys @ query[..., None])[..., 0]
        outputs.append((query * since_start.exp()) @ state + attention @ update)
        until_end = (since_start[:, :, -1:] - since_start).exp()
        state = state * since_start[:, :, -1, :, None].exp() + (key * until_end).transpose(-1, -2) @ update
    return torch.cat(outputs, 2), state
