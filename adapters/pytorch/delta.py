"""The gated delta rule: linear attention with a state of fixed size (arXiv:2412.06464)."""

# B batch, T tokens in this call, H heads of values, G heads of keys, K key size, V value size, C channels,
# N chunks, L tokens in a chunk

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.feedforward import ACTIVATIONS
from litgpt.adapters.pytorch.lending import Place
from litgpt.adapters.pytorch.linear import Linear
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.adapters.pytorch.rotary import Turn
from litgpt.adapters.pytorch.state import StateCache
from litgpt.adapters.pytorch.visibility import View
from litgpt.domain.architecture import GatedDelta

# Tokens whose corrections are solved for together.
_CHUNK = 64
# With fewer tokens than this, going through them one by one is cheaper.
_FEW = 8
# Added to a squared length, as the models were trained.
_EPS = 1e-6


class GatedDeltaNet(nn.Module):
    """The gated delta rule of one layer; `qkvz` holds the rows of queries, keys, values and gates."""

    def __init__(self, width: int, mixer: GatedDelta) -> None:
        super().__init__()
        self.mixer = mixer
        self.qkvz = Linear(width, sum(mixer.rows), bias=False)
        self.ba = Linear(width, 2 * mixer.heads, bias=False)
        self.conv = nn.Conv1d(mixer.channels, mixer.channels, mixer.kernel, groups=mixer.channels, bias=False)
        self.dt_bias = nn.Parameter(torch.empty(mixer.heads))
        self.A_log = nn.Parameter(torch.empty(mixer.heads))
        self.norm = Normalise(mixer.value_size, mixer.norm)
        self.out_proj = Linear(mixer.heads * mixer.value_size, width, bias=False)
        self.activation = ACTIVATIONS[mixer.activation]

    def forward(self, x: Tensor, turn: Turn, view: View, cache: Place, slot: int) -> Tensor:
        """Return what each token reads from the state; as `CausalSelfAttention.forward`."""
        del turn, slot  # the state knows no positions
        mixer = self.mixer
        joined, gates = self.qkvz(x).split((mixer.channels, mixer.rows[3]), -1)
        strengths, fading = self.ba(x).float().split(mixer.heads, -1)
        if view.present is not None:  # padding leaves a state of zeros as it is
            joined = joined * view.present[..., None]
        kept = None
        if cache is not None:
            assert isinstance(cache, StateCache)  # noqa: S101 - the architecture says which layer has which
            kept = cache.of_rows(len(x))
        queries, keys, values = self._heads(self._convolved(joined.transpose(1, 2), kept))
        fade = -self.A_log.float().exp() * functional.softplus(fading + self.dt_bias.float())
        state = kept.state if kept else x.new_zeros((), dtype=torch.float32)
        read, state = delta_rule(
            queries, keys, values, fade.transpose(1, 2), strengths.sigmoid().transpose(1, 2), state
        )
        if kept is not None:
            kept.state.copy_(state)
        read = self.norm(read.transpose(1, 2).to(x.dtype))
        gated = read.float() * functional.silu(gates.float()).view_as(read)
        out: Tensor = self.out_proj(gated.to(x.dtype).flatten(-2))
        return out

    def _convolved(self, joined: Tensor, kept: StateCache | None) -> Tensor:
        """Return (B, C, T), each token mixed with the few before it."""
        if kept is None:
            joined = functional.pad(joined, (self.mixer.kernel - 1, 0))
        else:
            joined = torch.cat((kept.recent, joined), -1)
            kept.recent.copy_(joined[..., joined.shape[-1] - kept.recent.shape[-1] :])
        if joined.shape[-1] == self.mixer.kernel:  # one token: a product is faster than a convolution
            mixed = (joined * self.conv.weight[:, 0]).sum(-1, keepdim=True)
        else:
            mixed = self.conv(joined)
        return self.activation(mixed)

    def _heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys (B, H, T, K), each of length one, and values (B, H, T, V), in float32."""
        mixer = self.mixer
        queries, keys, values = (
            one.unflatten(1, (heads, -1)).transpose(2, 3).float()
            for one, heads in zip(
                mixed.split(mixer.rows[:3], 1), (mixer.groups, mixer.groups, mixer.heads), strict=True
            )
        )
        shared = mixer.heads // mixer.groups
        queries, keys = (
            (one * (one.square().sum(-1, keepdim=True) + _EPS).rsqrt()).repeat_interleave(shared, 1)
            for one in (queries, keys)
        )
        return queries * mixer.key_size**-0.5, keys, values


def delta_rule(
    queries: Tensor, keys: Tensor, values: Tensor, fade: Tensor, strength: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Let each token fade the state, correct it, and read it; all in float32.

    Args:
        queries: (B, H, T, K).
        keys: (B, H, T, K).
        values: (B, H, T, V).
        fade: (B, H, T), the logarithm of what is left of the state.
        strength: (B, H, T), how much of what the state has for a key gives way to the value.
        state: (B, H, K, V), or (), which is 0.

    Returns:
        What is read, (B, H, T, V), and the state after the last token.

    """
    rule = _one_by_one if queries.shape[2] < _FEW else _by_chunks
    return rule(queries, keys, values, fade, strength, state)


def _one_by_one(
    queries: Tensor, keys: Tensor, values: Tensor, fade: Tensor, strength: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    left, strength = fade.exp()[..., None, None], strength[..., None]
    reads = []
    for at in range(queries.shape[2]):
        key = keys[:, :, at, :, None]
        state = state * left[:, :, at]
        known = (state * key).sum(-2)
        state = state + key * (strength[:, :, at] * (values[:, :, at] - known))[:, :, None]
        reads.append((state * queries[:, :, at, :, None]).sum(-2))
    return torch.stack(reads, 2), state


def _by_chunks(
    queries: Tensor, keys: Tensor, values: Tensor, fade: Tensor, strength: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve for all corrections of a chunk at once: each depends on those before it, in a triangle.

    Source: section 3.3 and appendix A of the paper.
    """
    batch, heads, tokens, size = values.shape
    length = min(_CHUNK, tokens)
    missing = -tokens % length  # filled with tokens of strength 0, which change nothing
    queries, keys, values = (
        functional.pad(one, (0, 0, 0, missing)).unflatten(2, (-1, length)) for one in (queries, keys, values)
    )
    fade, strength = (
        functional.pad(one, (0, missing)).unflatten(2, (-1, length)) for one in (fade, strength)
    )
    faded = fade.cumsum(-1)  # since the chunk began
    ahead = torch.ones((length, length), dtype=torch.bool, device=fade.device).triu(1)
    between = (faded[..., :, None] - faded[..., None, :]).masked_fill(ahead, -torch.inf).exp()
    since, until = faded.exp()[..., None], (faded[..., -1:] - faded).exp()[..., None]
    strong = keys * strength[..., None]
    # What a token writes is its value less what it finds: of the state before the chunk, and of what the
    # tokens before it wrote.
    solved = torch.linalg.solve_triangular(
        strong @ keys.transpose(-1, -2) * between,
        torch.cat((values * strength[..., None], strong * since), -1),
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
