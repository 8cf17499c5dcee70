"""Latent attention: keys and values made from a small vector, which alone is cached (arXiv:2405.04434)."""

# B batch, T tokens in this call, S tokens seen, H heads, L latent size, P plain size, R rotated size, V
# value size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.module_hook import effective_weight
from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.sdpa import eager_attention, sdpa_attention
from litgpt.adapters.pytorch.model.kv_cache import LayerCache
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.rope import PositionInfo, apply_rope
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import MLASpec

# With fewer tokens than this, comparing in the latent space is cheaper than making all keys and values anew.
_MAX_ABSORBED_TOKENS = 16


class MultiHeadLatentAttention(nn.Module):
    """Latent attention of one layer."""

    def __init__(self, hidden_size: int, spec: MLASpec) -> None:
        super().__init__()
        self.spec = spec
        queries = spec.num_heads * spec.head_dim
        if spec.q_lora_rank is None:
            self.q_proj = Linear(hidden_size, queries, bias=False)
        else:
            self.q_a_proj = Linear(hidden_size, spec.q_lora_rank, bias=spec.bias)
            self.q_a_norm = Norm(spec.q_lora_rank, spec.norm)
            self.q_b_proj = Linear(spec.q_lora_rank, queries, bias=False)
        self.kv_a_proj_with_mqa = Linear(hidden_size, spec.cache_spec.k_head_dim, bias=spec.bias)
        self.kv_a_norm = Norm(spec.kv_lora_rank, spec.norm)
        made = spec.num_heads * (spec.qk_nope_head_dim + spec.v_head_dim)
        self.kv_b_proj = Linear(spec.kv_lora_rank, made, bias=False)
        self.proj = Linear(spec.num_heads * spec.v_head_dim, hidden_size, bias=spec.bias)

    def forward(
        self,
        x: Tensor,
        position: PositionInfo,
        mask: AttentionMask,
        cache: LayerCache | None,
        cache_position: int,
    ) -> Tensor:
        """Return what each token gathers from those it sees; as `CausalSelfAttention.forward`."""
        batch, tokens, _ = x.shape
        mixer, rotation = self.spec, position.rope
        assert rotation is not None  # noqa: S101 - a latent attention always rotates
        if mixer.q_lora_rank is None:
            queries = self.q_proj(x)
        else:
            queries = self.q_b_proj(self.q_a_norm(self.q_a_proj(x)))
        plain, rotated = queries.view(batch, tokens, mixer.num_heads, -1).split(
            (mixer.qk_nope_head_dim, mixer.rope.rotary_dim), -1
        )
        rotated = apply_rope(rotated, rotation)
        latent, shared = self.kv_a_proj_with_mqa(x).split((mixer.kv_lora_rank, mixer.rope.rotary_dim), -1)
        shared = apply_rope(shared[:, :, None], rotation)[:, :, 0]
        kept = torch.cat((self.kv_a_norm(latent), shared), -1)[:, None]  # (B, 1, T, L + R)
        if cache is not None:
            kept, _ = cache.write(kept, kept[..., :0], cache_position, mask.kv_start)
        how = self._absorbed if tokens <= _MAX_ABSORBED_TOKENS and not self.training else self._expanded
        out: Tensor = self.proj(how(plain, rotated, kept, mask))
        return out

    def _expanded(self, q_nope: Tensor, q_rope: Tensor, cached: Tensor, mask: AttentionMask) -> Tensor:
        """Return (B, T, H * V), having made every head's keys and values."""
        mixer = self.spec
        latent, shared = cached[:, 0].split((mixer.kv_lora_rank, mixer.rope.rotary_dim), -1)
        made = self.kv_b_proj(latent).view(*latent.shape[:2], mixer.num_heads, -1).transpose(1, 2)
        keys, values = made.split((mixer.qk_nope_head_dim, mixer.v_head_dim), -1)
        keys = torch.cat((keys, shared[:, None].expand(-1, mixer.num_heads, -1, -1)), -1)
        return sdpa_attention(torch.cat((q_nope, q_rope), -1), keys, values, mask, scale=mixer.scale)

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, cached: Tensor, mask: AttentionMask) -> Tensor:
        """Return the same, having taken the queries to the latent space and the answer back."""
        mixer = self.spec
        weight = effective_weight(self.kv_b_proj).view(mixer.num_heads, -1, mixer.kv_lora_rank)
        to_keys, to_values = weight.split((mixer.qk_nope_head_dim, mixer.v_head_dim), 1)
        queries = torch.cat((torch.einsum("bthp,hpl->bthl", q_nope, to_keys), q_rope), -1)
        latent = cached[..., : mixer.kv_lora_rank]
        found = eager_attention(queries, cached, latent, mask, scale=mixer.scale)
        found = found.view(*q_nope.shape[:3], mixer.kv_lora_rank)
        return torch.einsum("bthl,hvl->bthv", found, to_values).flatten(-2)
