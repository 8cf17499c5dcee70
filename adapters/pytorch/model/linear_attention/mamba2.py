"""Mamba-2: a selective state space with a scalar decay per head (arXiv:2405.21060)."""

# B batch, T tokens of this call, G groups, R heads in a group, P values in a head, S state size, N chunks,
# L tokens in a chunk, C channels, D hidden size

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
from litgpt.domain.model import Mamba2Spec

_CHUNK_SIZE = 64
# With fewer tokens than this, the recurrent form is faster than the chunked one.
_MAX_RECURRENT_TOKENS = 8


class Mamba2(nn.Module):
    """The selective state space of one layer; the rows of `in_proj` are those of `Mamba2Spec.split_sizes`."""

    def __init__(self, hidden_size: int, spec: Mamba2Spec) -> None:
        super().__init__()
        self.spec, inner = spec, spec.split_sizes[0]
        self.in_proj = Linear(hidden_size, sum(spec.split_sizes), bias=spec.input_bias)
        self.conv = CausalConv(spec.conv_dim, spec.conv_kernel_size, bias=spec.conv_bias)
        self.dt_bias = nn.Parameter(torch.empty(spec.num_heads))
        self.A_log = nn.Parameter(torch.empty(spec.num_heads))
        self.D = nn.Parameter(torch.empty(spec.num_heads))
        self.norm = (
            None
            if spec.norm is None
            else Norm(inner // spec.num_groups, spec.norm, num_heads=spec.num_groups)
        )
        self.out_proj = Linear(inner, hidden_size, bias=spec.output_bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        del position, cache_position  # the recurrent state has no positions
        spec = self.spec
        row_cache = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - determined by the architecture
            row_cache = cache.first_rows(len(x))
        gate, channels, steps = self._project(x)
        # Zero inputs leave an initial state unchanged; a bias of the convolution would make them others.
        padding = mask.padding_mask
        if padding is not None:
            channels = channels * padding[..., None]
        channels = self.activation(self.conv(channels.transpose(1, 2), row_cache)).transpose(1, 2)
        if padding is not None:
            channels = channels * padding[..., None]
        values, b, c = channels.float().split(spec.split_sizes[1:4], -1)
        values = values.unflatten(-1, (spec.num_groups, -1, spec.head_dim))
        b, c = (part.unflatten(-1, (spec.num_groups, -1)) for part in (b, c))
        steps = functional.softplus(steps.float() + self.dt_bias.float()).clamp(*spec.time_step_limit)
        decay = (-self.A_log.float().exp() * steps).unflatten(-1, (spec.num_groups, -1))
        update = values * steps.view(*decay.shape, 1)
        state = row_cache.recurrent_state if row_cache else x.new_zeros((), dtype=torch.float32)
        output, state = state_space(update, decay, b, c, state)
        if row_cache is not None:
            row_cache.recurrent_state.copy_(state)
        output = output + values * self.D.float().view(spec.num_groups, -1, 1)
        out: Tensor = self.out_proj(self._gated(output.flatten(-3), gate).to(x.dtype))
        return out

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return gates (B, T, G * R * P), the channels of the convolution, and time steps (B, T, G * R)."""
        sizes, scales = self.spec.split_sizes, self.spec.part_scales
        projected = self.in_proj(x)
        if scales is not None:
            parts = projected.split(sizes, -1)
            projected = torch.cat([part * scale for part, scale in zip(parts, scales, strict=True)], -1)
        gate, channels, steps = projected.split((sizes[0], self.spec.conv_dim, sizes[4]), -1)
        return gate, channels, steps

    def _gated(self, output: Tensor, gate: Tensor) -> Tensor:
        """Return the normalized and gated output, in float32."""
        factor = functional.silu(gate.float())
        if self.norm is None:
            return output * factor
        if self.spec.norm_before_gate:
            return self._normalized(output, gate.dtype) * factor
        return self._normalized(output * factor, gate.dtype)

    def _normalized(self, output: Tensor, dtype: torch.dtype) -> Tensor:
        assert self.norm is not None  # noqa: S101 - checked by the caller
        groups = output.to(dtype).unflatten(-1, (self.spec.num_groups, -1))
        if self.spec.num_groups == 1:
            groups = groups.squeeze(-2)
        normalized: Tensor = self.norm(groups)
        return normalized.reshape(output.shape)


def state_space(update: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the recurrence `state = exp(decay) * state + b * update`, `output = c @ state`, in float32.

    Args:
        update: (B, T, G, R, P), the values times the time steps.
        decay: (B, T, G, R), logarithm of the factor by which the state decays.
        b: (B, T, G, S).
        c: (B, T, G, S).
        state: (B, G, S, R * P), or a scalar 0.

    Returns:
        The output (B, T, G, R, P), and the state after the last token.
    """
    if update.shape[1] < _MAX_RECURRENT_TOKENS:
        return recurrent_state_space(update, decay, b, c, state)
    return chunk_state_space(update, decay, b, c, state)


def recurrent_state_space(
    update: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `state_space` token by token."""
    size = update.shape[-1]
    factor = decay.exp()[..., None].expand(*decay.shape, size).flatten(-2)[:, :, :, None]
    update = update.flatten(-2)[:, :, :, None]
    outputs = []
    for step in range(update.shape[1]):
        state = torch.addcmul(state * factor[:, step], b[:, step, :, :, None], update[:, step])
        outputs.append((c[:, step, :, None] @ state)[:, :, 0])
    return torch.stack(outputs, 1).unflatten(-1, (-1, size)), state


def chunk_state_space(
    update: Tensor, decay: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `state_space` chunk by chunk: attention within a chunk, and the state between chunks.

    Source: section 6 of the paper.
    """
    tokens, size = update.shape[1], update.shape[-1]
    length = min(_CHUNK_SIZE, tokens)
    padding = -tokens % length  # padded tokens have no update and no decay
    # The shapes are B, N, G, R, L, P for updates, B, N, G, R, L for decays, and B, N, G, L, S for B and C.
    update, decay, b, c = (
        functional.pad(x, (0, 0) * (x.ndim - 2) + (0, padding)).unflatten(1, (-1, length))
        for x in (update, decay, b, c)
    )
    update, b, c = update.permute(0, 1, 3, 4, 2, 5), b.transpose(2, 3), c.transpose(2, 3)
    log_decay = decay.permute(0, 1, 3, 4, 2).cumsum(-1)  # from the start of the chunk
    future = torch.ones((length, length), dtype=torch.bool, device=decay.device).triu(1)
    decay_mask = (log_decay[..., :, None] - log_decay[..., None, :]).masked_fill(future, -torch.inf).exp()
    scores = (c @ b.transpose(-1, -2))[:, :, :, None] * decay_mask
    output = scores @ update
    to_end = (log_decay[..., -1:] - log_decay).exp()[..., None]
    # Heads of a group share B and C, so that their values are columns of one product: (B, N, G, S, R * P)
    added = b.transpose(-1, -2) @ (update * to_end).permute(0, 1, 2, 4, 3, 5).flatten(-2)
    chunk_decay = log_decay[..., -1:].exp().expand(*log_decay.shape[:-1], size).flatten(-2)[:, :, :, None]
    if not state.ndim:
        state = torch.zeros_like(added[:, 0])
    states = []
    for chunk in range(added.shape[1]):
        states.append(state)
        state = torch.addcmul(added[:, chunk], state, chunk_decay[:, chunk])
    earlier = (c @ torch.stack(states, 1)).unflatten(-1, (-1, size)).transpose(3, 4)
    output = torch.addcmul(output, earlier, log_decay.exp()[..., None])
    return output.permute(0, 1, 4, 2, 3, 5).flatten(1, 2)[:, :tokens], state
