"""The recurrent block of Griffin: a real-gated linear recurrent unit (arXiv:2402.19427)."""

# B batch, T tokens of this call, W width, D hidden size

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.adapters.pytorch.model.linear_attention.causal_conv import CausalConv
from litgpt.adapters.pytorch.model.mlp import ACTIVATIONS
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import RGLRUSpec

_DECAY_SCALE = 8.0  # the constant c of the paper
_MIN_SQUARE = 1e-10  # bounds the gradient of the square root


class RGLRU(nn.Module):
    """The recurrent block of one layer."""

    def __init__(self, hidden_size: int, spec: RGLRUSpec) -> None:
        super().__init__()
        width, blocks = spec.width, spec.num_blocks
        self.linear_x = Linear(hidden_size, width, bias=True)
        self.linear_y = Linear(hidden_size, width, bias=True)
        self.conv = CausalConv(width, spec.conv_kernel_size, bias=True)
        size = width // blocks
        self.input_gate_weight = nn.Parameter(torch.empty(blocks, size, size))
        self.input_gate_bias = nn.Parameter(torch.empty(blocks, size))
        self.recurrent_gate_weight = nn.Parameter(torch.empty(blocks, size, size))
        self.recurrent_gate_bias = nn.Parameter(torch.empty(blocks, size))
        self.recurrent_param = nn.Parameter(torch.empty(width))
        self.linear_out = Linear(width, hidden_size, bias=True)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        """Return the output (B, T, D) of `x` (B, T, D)."""
        del position, cache_position  # the state has no positions
        inputs = self.linear_x(x)
        is_token = mask.padding_mask
        if is_token is None:
            is_token = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        row_cache = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - determined by the architecture
            row_cache = cache.first_rows(len(x))
        masked = inputs * is_token[..., None]  # zero inputs leave an initial state unchanged
        convolved = self.conv(masked.transpose(1, 2), row_cache).transpose(1, 2)
        if row_cache is None:
            state = x.new_zeros((len(x), inputs.shape[-1] + 1), dtype=torch.float32)
        else:
            state = row_cache.recurrent_state
        has_started = state[:, -1:] > 0
        is_first = is_token & (is_token.cumsum(1) == 1) & ~has_started
        decay, updates = self._recurrence(convolved, is_first)
        states = linear_recurrence(decay, updates * is_token[..., None], state[:, :-1])
        if row_cache is not None:
            started = has_started | is_token.any(1, keepdim=True)
            row_cache.recurrent_state.copy_(torch.cat((states[:, -1], started.float()), -1))
        out: Tensor = self.linear_out(states.to(x.dtype) * self.activation(self.linear_y(x)))
        return out

    def _recurrence(self, x: Tensor, is_first: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of the states and what is added to them, (B, T, W), in float32."""
        blocks = x.unflatten(-1, (len(self.input_gate_weight), -1))
        input_gate, recurrent_gate = (
            (torch.einsum("bthi,hij->bthj", blocks, weight) + bias).flatten(-2).sigmoid()
            for weight, bias in (
                (self.input_gate_weight, self.input_gate_bias),
                (self.recurrent_gate_weight, self.recurrent_gate_bias),
            )
        )
        log_decay = -_DECAY_SCALE * recurrent_gate.float() * functional.softplus(self.recurrent_param.float())
        scale = (-torch.expm1(2 * log_decay)).clamp(min=_MIN_SQUARE).sqrt()
        scale = scale.masked_fill(is_first[..., None], 1)
        return log_decay.exp(), (x * input_gate).float() * scale


def linear_recurrence(decay: Tensor, updates: Tensor, state: Tensor) -> Tensor:
    """Return the states (B, T, W) of `h[t] = decay[t] * h[t - 1] + updates[t]`, in log2(T) passes.

    Args:
        decay: (B, T, W), from 0 to 1.
        updates: (B, T, W).
        state: (B, W), before the first token.
    """
    states = torch.cat((updates[:, :1] + decay[:, :1] * state[:, None], updates[:, 1:]), 1)
    distance = 1
    while distance < states.shape[1]:
        earlier = states[:, :-distance] * decay[:, distance:]
        states = torch.cat((states[:, :distance], states[:, distance:] + earlier), 1)
        decay = torch.cat((decay[:, :distance], decay[:, distance:] * decay[:, :-distance]), 1)
        distance *= 2
    return states
