"""Mamba: a selective state space with a decay for each channel and state (arXiv:2312.00752)."""

# B batch, T tokens of this call, C channels, S states of a channel, N chunks, L tokens in a chunk

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.adapters.pytorch.model.linear_attention.causal_conv import CausalConv
from litgpt.adapters.pytorch.model.mlp import ACTIVATIONS
from litgpt.adapters.pytorch.model.norm import build_norm
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import MambaSpec

# With fewer tokens than this, the recurrent form is faster than the chunked one.
_MAX_RECURRENT_TOKENS = 16


class Mamba(nn.Module):
    """The selective state space of one layer; the rows of `in_proj` are channels and output gates."""

    def __init__(self, hidden_size: int, spec: MambaSpec) -> None:
        super().__init__()
        self.spec, inner = spec, spec.inner_size
        self.in_proj = Linear(hidden_size, 2 * inner, bias=spec.bias)
        self.conv = CausalConv(inner, spec.conv_kernel_size, bias=spec.conv_bias)
        self.x_proj = Linear(inner, sum(spec.split_sizes), bias=False)
        self.dt_norm, self.b_norm, self.c_norm = (build_norm(size, spec.norm) for size in spec.split_sizes)
        self.dt_proj = Linear(spec.time_step_rank, inner, bias=True)
        self.A_log = nn.Parameter(torch.empty(inner, spec.state_size))
        self.D = nn.Parameter(torch.empty(inner))
        self.out_proj = Linear(inner, hidden_size, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        del position, cache_position  # the recurrent state has no positions
        row_cache = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - determined by the architecture
            row_cache = cache.first_rows(len(x))
        channels, gate = self.in_proj(x).chunk(2, -1)
        # Zero inputs leave an initial state unchanged; a bias of the convolution would make them others.
        padding = mask.padding_mask
        if padding is not None:
            channels = channels * padding[..., None]
        channels = self.activation(self.conv(channels.transpose(1, 2), row_cache)).transpose(1, 2)
        if padding is not None:
            channels = channels * padding[..., None]
        steps, b, c = self.x_proj(channels).split(self.spec.split_sizes, -1)
        steps = functional.softplus(self.dt_proj(self.dt_norm(steps)).float())
        state = row_cache.recurrent_state if row_cache else x.new_zeros((), dtype=torch.float32)
        output, state = selective_scan(
            steps * channels.float(),
            steps,
            -self.A_log.float().exp(),
            self.b_norm(b).float(),
            self.c_norm(c).float(),
            state,
        )
        if row_cache is not None:
            row_cache.recurrent_state.copy_(state)
        output = (output + channels.float() * self.D.float()) * functional.silu(gate.float())
        out: Tensor = self.out_proj(output.to(x.dtype))
        return out


def selective_scan(
    update: Tensor, steps: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply the recurrence `state = exp(steps * a) * state + update * b`, `output = state @ c`, in float32.

    Args:
        update: (B, T, C), the values times the time steps.
        steps: (B, T, C).
        a: (C, S), the negative rates of decay.
        b: (B, T, S).
        c: (B, T, S).
        state: (B, C, S), or a scalar 0.

    Returns:
        The output (B, T, C), and the state after the last token.
    """
    if update.shape[1] < _MAX_RECURRENT_TOKENS:
        return recurrent_selective_scan(update, steps, a, b, c, state)
    return chunk_selective_scan(update, steps, a, b, c, state)


def recurrent_selective_scan(
    update: Tensor, steps: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `selective_scan` token by token."""
    outputs = []
    for token in range(update.shape[-2]):
        decay = (steps[..., token, :, None] * a).exp()
        state = torch.addcmul(state * decay, update[..., token, :, None], b[..., token, None, :])
        outputs.append((state @ c[..., token, :, None])[..., 0])
    return torch.stack(outputs, -2), state


def chunk_selective_scan(
    update: Tensor, steps: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute `selective_scan` for about the square root of T chunks at the same time.

    The first pass finds the state that each chunk adds, from which the states between chunks follow; the
    second one starts each chunk from its state.
    """
    tokens = update.shape[1]
    length = math.isqrt(tokens)
    padding = -tokens % length  # padded tokens have no update and no decay
    update, steps, b, c = (
        functional.pad(x, (0, 0, 0, padding)).unflatten(1, (-1, length)) for x in (update, steps, b, c)
    )
    added = update.new_zeros(())
    for token in range(length):
        decay = (steps[:, :, token, :, None] * a).exp()
        added = torch.addcmul(added * decay, update[:, :, token, :, None], b[:, :, token, None, :])
    chunk_decay = (steps.sum(2)[..., None] * a).exp()
    if not state.ndim:
        state = torch.zeros_like(added[:, 0])
    states = []
    for chunk in range(added.shape[1]):
        states.append(state)
        state = torch.addcmul(added[:, chunk], state, chunk_decay[:, chunk])
    output, _ = recurrent_selective_scan(update, steps, a, b, c, torch.stack(states, 1))
    return output.flatten(1, 2)[:, :tokens], state
