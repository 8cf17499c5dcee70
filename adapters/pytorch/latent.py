"""Latent attention: keys and values made from a small vector, which alone is cached (arXiv:2405.04434)."""

# B batch, T tokens in this call, S tokens seen, H heads, L latent size, P plain size, R rotated size, V
# value size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.attending import attend, attend_written_out
from litgpt.adapters.pytorch.cache import LayerCache
from litgpt.adapters.pytorch.linear import Linear
from litgpt.adapters.pytorch.lora.layer import weight_of
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.adapters.pytorch.rotary import Turn, rotate
from litgpt.adapters.pytorch.visibility import View
from litgpt.domain.architecture import LatentAttention

# With fewer tokens than this, comparing in the latent space is cheaper than making all keys and values anew.
_FEW = 16


class MultiheadLatentAttention(nn.Module):
    """Latent attention of one layer."""

    def __init__(self, width: int, mixer: LatentAttention) -> None:
        super().__init__()
        self.mixer = mixer
        queries = mixer.heads * mixer.head_size
        if mixer.query_size is None:
            self.q_proj = Linear(width, queries, bias=False)
        else:
            self.q_a_proj = Linear(width, mixer.query_size, bias=mixer.bias)
            self.q_a_norm = Normalise(mixer.query_size, mixer.norm)
            self.q_b_proj = Linear(mixer.query_size, queries, bias=False)
        self.kv_a_proj_with_mqa = Linear(width, mixer.kept.key, bias=mixer.bias)
        self.kv_a_norm = Normalise(mixer.latent_size, mixer.norm)
        made = mixer.heads * (mixer.plain_size + mixer.value_size)
        self.kv_b_proj = Linear(mixer.latent_size, made, bias=False)
        self.proj = Linear(mixer.heads * mixer.value_size, width, bias=mixer.bias)

    def forward(self, x: Tensor, turn: Turn, view: View, cache: LayerCache | None, slot: int) -> Tensor:
        """Return what each token gathers from those it sees; as `CausalSelfAttention.forward`."""
        batch, tokens, _ = x.shape
        mixer, rotation = self.mixer, turn.rotation
        assert rotation is not None  # noqa: S101 - a latent attention always rotates
        if mixer.query_size is None:
            queries = self.q_proj(x)
        else:
            queries = self.q_b_proj(self.q_a_norm(self.q_a_proj(x)))
        plain, rotated = queries.view(batch, tokens, mixer.heads, -1).split(
            (mixer.plain_size, mixer.rotary.size), -1
        )
        rotated = rotate(rotated, rotation)
        latent, shared = self.kv_a_proj_with_mqa(x).split((mixer.latent_size, mixer.rotary.size), -1)
        shared = rotate(shared[:, :, None], rotation)[:, :, 0]
        kept = torch.cat((self.kv_a_norm(latent), shared), -1)[:, None]  # (B, 1, T, L + R)
        if cache is not None:
            kept, _ = cache.write(kept, kept[..., :0], slot, view.since)
        how = self._in_latent_space if tokens <= _FEW and not self.training else self._made_anew
        out: Tensor = self.proj(how(plain, rotated, kept, view))
        return out

    def _made_anew(self, plain: Tensor, rotated: Tensor, kept: Tensor, view: View) -> Tensor:
        """Return (B, T, H * V), having made every head's keys and values."""
        mixer = self.mixer
        latent, shared = kept[:, 0].split((mixer.latent_size, mixer.rotary.size), -1)
        made = self.kv_b_proj(latent).view(*latent.shape[:2], mixer.heads, -1).transpose(1, 2)
        keys, values = made.split((mixer.plain_size, mixer.value_size), -1)
        keys = torch.cat((keys, shared[:, None].expand(-1, mixer.heads, -1, -1)), -1)
        return attend(torch.cat((plain, rotated), -1), keys, values, view, scale=mixer.scale)

    def _in_latent_space(self, plain: Tensor, rotated: Tensor, kept: Tensor, view: View) -> Tensor:
        """Return the same, having taken the queries to the latent space and the answer back."""
        mixer = self.mixer
        weight = weight_of(self.kv_b_proj).view(mixer.heads, -1, mixer.latent_size)
        to_keys, to_values = weight.split((mixer.plain_size, mixer.value_size), 1)
        queries = torch.cat((torch.einsum("bthp,hpl->bthl", plain, to_keys), rotated), -1)
        latent = kept[..., : mixer.latent_size]
        found = attend_written_out(queries, kept, latent, view, scale=mixer.scale)
        found = found.view(*plain.shape[:3], mixer.latent_size)
        return torch.einsum("bthl,hvl->bthv", found, to_values).flatten(-2)
