"""The gated delta rule: linear attention with a state of fixed size (arXiv:2412.06464)."""

# B batch, T tokens in this call, H heads of values, G heads of keys, K key size, V value size, C channels,
# N chunks, L tokens in a chunk

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState
from litgpt.adapters.pytorch.model.mlp import ACTIVATIONS
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.recurrent_state import RecurrentState
from litgpt.adapters.pytorch.model.rope import PositionInfo
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import GatedDeltaSpec

# Tokens whose corrections are solved for together.
_CHUNK_SIZE = 64
# With fewer tokens than this, going through them one by one is cheaper.
_MAX_RECURRENT_TOKENS = 8
# Added to a squared length, as the models were trained.
_EPS = 1e-6


class GatedDeltaNet(nn.Module):
    """The gated delta rule of one layer; `qkvz` holds the rows of queries, keys, values and gates."""

    def __init__(self, hidden_size: int, spec: GatedDeltaSpec) -> None:
        super().__init__()
        self.spec = spec
        self.qkvz = Linear(hidden_size, sum(spec.split_sizes), bias=False)
        self.ba = Linear(hidden_size, 2 * spec.num_heads, bias=False)
        self.conv = nn.Conv1d(
            spec.conv_dim, spec.conv_dim, spec.conv_kernel_size, groups=spec.conv_dim, bias=False
        )
        self.dt_bias = nn.Parameter(torch.empty(spec.num_heads))
        self.A_log = nn.Parameter(torch.empty(spec.num_heads))
        self.norm = Norm(spec.v_head_dim, spec.norm)
        self.out_proj = Linear(spec.num_heads * spec.v_head_dim, hidden_size, bias=False)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        """Return what each token reads from the state; as `CausalSelfAttention.forward`."""
        del position, cache_position  # the state knows no positions
        mixer = self.spec
        joined, gates = self.qkvz(x).split((mixer.conv_dim, mixer.split_sizes[3]), -1)
        strengths, fading = self.ba(x).float().split(mixer.num_heads, -1)
        if mask.padding_mask is not None:  # padding leaves a state of zeros as it is
            joined = joined * mask.padding_mask[..., None]
        kept = None
        if cache is not None:
            assert isinstance(cache, RecurrentState)  # noqa: S101 - the architecture says which layer has which
            kept = cache.first_rows(len(x))
        queries, keys, values = self._heads(self._causal_conv(joined.transpose(1, 2), kept))
        fade = -self.A_log.float().exp() * functional.softplus(fading + self.dt_bias.float())
        state = kept.recurrent_state if kept else x.new_zeros((), dtype=torch.float32)
        read, state = gated_delta_rule(
            queries, keys, values, fade.transpose(1, 2), strengths.sigmoid().transpose(1, 2), state
        )
        if kept is not None:
            kept.recurrent_state.copy_(state)
        read = self.norm(read.transpose(1, 2).to(x.dtype))
        gated = read.float() * functional.silu(gates.float()).view_as(read)
        out: Tensor = self.out_proj(gated.to(x.dtype).flatten(-2))
        return out

    def _causal_conv(self, joined: Tensor, cache: RecurrentState | None) -> Tensor:
        """Return (B, C, T), each token mixed with the few before it."""
        if cache is None:
            joined = functional.pad(joined, (self.spec.conv_kernel_size - 1, 0))
        else:
            joined = torch.cat((cache.conv_state, joined), -1)
            cache.conv_state.copy_(joined[..., joined.shape[-1] - cache.conv_state.shape[-1] :])
        if (
            joined.shape[-1] == self.spec.conv_kernel_size
        ):  # one token: a product is faster than a convolution
            mixed = (joined * self.conv.weight[:, 0]).sum(-1, keepdim=True)
        else:
            mixed = self.conv(joined)
        return self.activation(mixed)

    def _heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys (B, H, T, K), each of length one, and values (B, H, T, V), in float32."""
        mixer = self.spec
        queries, keys, values = (
            one.unflatten(1, (heads, -1)).transpose(2, 3).float()
            for one, heads in zip(
                mixed.split(mixer.split_sizes[:3], 1),
                (mixer.num_kv_heads, mixer.num_kv_heads, mixer.num_heads),
                strict=True,
            )
        )
        shared = mixer.num_heads // mixer.num_kv_heads
        queries, keys = (
            (one * (one.square().sum(-1, keepdim=True) + _EPS).rsqrt()).repeat_interleave(shared, 1)
            for one in (queries, keys)
        )
        return queries * mixer.k_head_dim**-0.5, keys, values


def gated_delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Let each token fade the state, correct it, and read it; all in float32.

    Args:
        queries: (B, H, T, K).
        keys: (B, H, T, K).
        values: (B, H, T, V).
        decay: (B, H, T), the logarithm of what is left of the state.
        beta: (B, H, T), how much of what the state has for a key gives way to the value.
        state: (B, H, K, V), or (), which is 0.

    Returns:
        What is read, (B, H, T, V), and the state after the last token.

    """
    rule = recurrent_gated_delta_rule if queries.shape[2] < _MAX_RECURRENT_TOKENS else chunk_gated_delta_rule
    return rule(queries, keys, values, decay, beta, state)


def recurrent_gated_delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the rule token by token; as `gated_delta_rule`."""
    left, beta = decay.exp()[..., None, None], beta[..., None]
    reads = []
    for at in range(queries.shape[2]):
        key = keys[:, :, at, :, None]
        state = state * left[:, :, at]
        known = (state * key).sum(-2)
        state = state + key * (beta[:, :, at] * (values[:, :, at] - known))[:, :, None]
        reads.append((state * queries[:, :, at, :, None]).sum(-2))
    return torch.stack(reads, 2), state


def chunk_gated_delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve for all corrections of a chunk at once: each depends on those before it, in a triangle.

    Source: section 3.3 and appendix A of the paper.
    """
    batch, heads, tokens, size = values.shape
    length = min(_CHUNK_SIZE, tokens)
    missing = -tokens % length  # filled with tokens of strength 0, which change nothing
    queries, keys, values = (
        functional.pad(one, (0, 0, 0, missing)).unflatten(2, (-1, length)) for one in (queries, keys, values)
    )
    decay, beta = (functional.pad(one, (0, missing)).unflatten(2, (-1, length)) for one in (decay, beta))
    faded = decay.cumsum(-1)  # since the chunk began
    ahead = torch.ones((length, length), dtype=torch.bool, device=decay.device).triu(1)
    between = (faded[..., :, None] - faded[..., None, :]).masked_fill(ahead, -torch.inf).exp()
    since, until = faded.exp()[..., None], (faded[..., -1:] - faded).exp()[..., None]
    strong = keys * beta[..., None]
    # What a token writes is its value less what it finds: of the state before the chunk, and of what the
    # tokens before it wrote.
    solved = torch.linalg.solve_triangular(
        strong @ keys.transpose(-1, -2) * between,
        torch.cat((values * beta[..., None], strong * since), -1),
        upper=False,
        unitriangular=True,
    )
    new, found = solved.split((size, solved.shape[-1] - size), -1)
    within = queries @ keys.transpose(-1, -2) * between
    asked, offered, left = queries * since, (keys * until).transpose(-1, -2), since[..., -1:, :]
    if not state.ndim:
        state = values.new_zeros((batch, heads, keys.shape[-1], size))
    reads = []
    for at in range(queries.shape[2]):
        written = new[:, :, at] - found[:, :, at] @ state
        reads.append(asked[:, :, at] @ state + within[:, :, at] @ written)
        state = state * left[:, :, at] + offered[:, :, at] @ written
    return torch.stack(reads, 2).flatten(2, 3)[:, :, :tokens], state
