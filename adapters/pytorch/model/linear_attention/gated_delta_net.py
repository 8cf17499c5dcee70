"""The gated delta rule: linear attention with a state of fixed size (arXiv:2412.06464)."""

# B batch, T tokens of this call, H value heads, G key heads, K key head size, V value head size, C channels,
# N chunks, L tokens in a chunk, D hidden size

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
from litgpt.domain.model import GatedDeltaSpec

_CHUNK_SIZE = 64
# With fewer tokens than this, the recurrent form is faster than the chunked one.
_MAX_RECURRENT_TOKENS = 8
# Epsilon of the L2 norm of queries and keys, as in training.
_EPS = 1e-6


class GatedDeltaNet(nn.Module):
    """The gated delta net of one layer; the rows of `qkvz` are queries, keys, values and output gates."""

    def __init__(self, hidden_size: int, spec: GatedDeltaSpec) -> None:
        super().__init__()
        self.spec = spec
        self.qkvz = Linear(hidden_size, sum(spec.split_sizes), bias=False)
        self.ba = Linear(hidden_size, 2 * spec.num_heads, bias=False)
        self.conv = CausalConv(spec.conv_dim, spec.conv_kernel_size)
        self.dt_bias = nn.Parameter(torch.empty(spec.num_heads))
        self.A_log = nn.Parameter(torch.empty(spec.num_heads))
        self.norm = Norm(spec.v_head_dim, spec.norm)
        self.out_proj = Linear(spec.num_heads * spec.v_head_dim, hidden_size, bias=False)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        del position, cache_position  # the recurrent state has no positions
        mixer = self.spec
        qkv, z = self.qkvz(x).split((mixer.conv_dim, mixer.split_sizes[3]), -1)
        b, a = self.ba(x).float().split(mixer.num_heads, -1)
        if mask.padding_mask is not None:  # zero inputs leave an initial state unchanged
            qkv = qkv * mask.padding_mask[..., None]
        row_cache = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - determined by the architecture
            row_cache = cache.first_rows(len(x))
        queries, keys, values = self._heads(self.activation(self.conv(qkv.transpose(1, 2), row_cache)))
        beta = b.sigmoid() * 2 if mixer.allow_neg_eigval else b.sigmoid()
        decay = -self.A_log.float().exp() * functional.softplus(a + self.dt_bias.float())
        state = row_cache.recurrent_state if row_cache else x.new_zeros((), dtype=torch.float32)
        output, state = gated_delta_rule(
            queries, keys, values, decay.transpose(1, 2), beta.transpose(1, 2), state
        )
        if row_cache is not None:
            row_cache.recurrent_state.copy_(state)
        output = self.norm(output.transpose(1, 2).to(x.dtype))
        gated = output.float() * functional.silu(z.float()).view_as(output)
        out: Tensor = self.out_proj(gated.to(x.dtype).flatten(-2))
        return out

    def _heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return L2-normalized queries and keys (B, H, T, K), and values (B, H, T, V), in float32."""
        mixer = self.spec
        queries, keys, values = (
            part.unflatten(1, (heads, -1)).transpose(2, 3).float()
            for part, heads in zip(
                qkv.split(mixer.split_sizes[:3], 1),
                (mixer.num_kv_heads, mixer.num_kv_heads, mixer.num_heads),
                strict=True,
            )
        )
        repeats = mixer.num_heads // mixer.num_kv_heads
        queries, keys = (
            (heads * (heads.square().sum(-1, keepdim=True) + _EPS).rsqrt()).repeat_interleave(repeats, 1)
            for heads in (queries, keys)
        )
        return queries * mixer.k_head_dim**-0.5, keys, values


def gated_delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply the gated delta rule to all tokens, in float32.

    Args:
        queries: (B, H, T, K).
        keys: (B, H, T, K).
        values: (B, H, T, V).
        decay: (B, H, T), logarithm of the factor by which the state decays.
        beta: (B, H, T), strength of the update, between 0 and 1.
        state: (B, H, K, V), or a scalar 0.

    Returns:
        The output (B, H, T, V), and the state after the last token.
    """
    rule = recurrent_gated_delta_rule if queries.shape[2] < _MAX_RECURRENT_TOKENS else chunk_gated_delta_rule
    return rule(queries, keys, values, decay, beta, state)


def recurrent_gated_delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `gated_delta_rule` token by token."""
    factor, beta = decay.exp()[..., None, None], beta[..., None]
    outputs = []
    for step in range(queries.shape[2]):
        key = keys[:, :, step, :, None]
        state = state * factor[:, :, step]
        predicted = (state * key).sum(-2)
        state = state + key * (beta[:, :, step] * (values[:, :, step] - predicted))[:, :, None]
        outputs.append((state * queries[:, :, step, :, None]).sum(-2))
    return torch.stack(outputs, 2), state


def chunk_gated_delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `gated_delta_rule` chunk by chunk, with one triangular solve for the updates of a chunk.

    Source: section 3.3 and appendix A of the paper.
    """
    batch, heads, tokens, size = values.shape
    length = min(_CHUNK_SIZE, tokens)
    padding = -tokens % length  # padded tokens have beta 0 and do not change the state
    queries, keys, values = (
        functional.pad(x, (0, 0, 0, padding)).unflatten(2, (-1, length)) for x in (queries, keys, values)
    )
    decay, beta = (functional.pad(x, (0, padding)).unflatten(2, (-1, length)) for x in (decay, beta))
    log_decay = decay.cumsum(-1)  # from the start of the chunk
    future = torch.ones((length, length), dtype=torch.bool, device=decay.device).triu(1)
    decay_mask = (log_decay[..., :, None] - log_decay[..., None, :]).masked_fill(future, -torch.inf).exp()
    from_start = log_decay.exp()[..., None]
    to_end = (log_decay[..., -1:] - log_decay).exp()[..., None]
    k_beta = keys * beta[..., None]
    # The update of a token is its value minus its prediction from the state before the chunk and from the
    # updates of earlier tokens of the chunk, hence the triangular system.
    solved = torch.linalg.solve_triangular(
        k_beta @ keys.transpose(-1, -2) * decay_mask,
        torch.cat((values * beta[..., None], k_beta * from_start), -1),
        upper=False,
        unitriangular=True,
    )
    new_values, k_cumdecay = solved.split((size, solved.shape[-1] - size), -1)
    attention = queries @ keys.transpose(-1, -2) * decay_mask
    decayed_queries, decayed_keys = queries * from_start, (keys * to_end).transpose(-1, -2)
    chunk_decay = from_start[..., -1:, :]
    if not state.ndim:
        state = values.new_zeros((batch, heads, keys.shape[-1], size))
    outputs = []
    for chunk in range(queries.shape[2]):
        update = new_values[:, :, chunk] - k_cumdecay[:, :, chunk] @ state
        outputs.append(decayed_queries[:, :, chunk] @ state + attention[:, :, chunk] @ update)
        state = state * chunk_decay[:, :, chunk] + decayed_keys[:, :, chunk] @ update
    return torch.stack(outputs, 2).flatten(2, 3)[:, :, :tokens], state
