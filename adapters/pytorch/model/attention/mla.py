"""Multi-head latent attention (MLA): only a compressed key-value vector is cached (arXiv:2405.04434)."""

# B batch, T tokens of this call, S slots from kv_start on, H heads, L kv_lora_rank, P qk_nope_head_dim,
# R qk_rope_head_dim, V v_head_dim, D hidden size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.sdpa import eager_attention, sdpa_attention
from litgpt.adapters.pytorch.model.layer_cache import LayerCache
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.rope import PositionInfo, apply_rope
from litgpt.adapters.pytorch.ops.linear import Linear, effective_parameter
from litgpt.domain.model import MLASpec

# Up to this number of tokens, attention in the latent space is cheaper than expanding all keys and values.
_MAX_ABSORBED_TOKENS = 16


class MultiHeadLatentAttention(nn.Module):
    """Multi-head latent attention of one layer."""

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
        expanded = spec.num_heads * (spec.qk_nope_head_dim + spec.v_head_dim)
        self.kv_b_proj = Linear(spec.kv_lora_rank, expanded, bias=False)
        if spec.head_gate:
            self.g_proj = Linear(hidden_size, spec.num_heads, bias=False)
        self.proj = Linear(spec.num_heads * spec.v_head_dim, hidden_size, bias=spec.bias)

    def forward(
        self,
        x: Tensor,
        position: PositionInfo,
        mask: AttentionMask,
        cache: LayerCache | None,
        cache_position: int,
    ) -> Tensor:
        batch, tokens, _ = x.shape
        mixer, rope = self.spec, position.rope
        assert rope is not None  # noqa: S101 - MLA always has RoPE
        if mixer.q_lora_rank is None:
            queries = self.q_proj(x)
        else:
            queries = self.q_b_proj(self.q_a_norm(self.q_a_proj(x)))
        q_nope, q_rope = queries.view(batch, tokens, mixer.num_heads, -1).split(
            (mixer.qk_nope_head_dim, mixer.rope.rotary_dim), -1
        )
        if mixer.rotated:
            q_rope = apply_rope(q_rope, rope)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split((mixer.kv_lora_rank, mixer.rope.rotary_dim), -1)
        if mixer.rotated:
            k_rope = apply_rope(k_rope[:, :, None], rope)[:, :, 0]
        cached = torch.cat((self.kv_a_norm(latent), k_rope), -1)[:, None]  # (B, 1, T, L + R)
        if cache is not None:
            cached, _ = cache.write(cached, cached[..., :0], cache_position, mask.kv_start)
        absorb = tokens <= _MAX_ABSORBED_TOKENS and not self.training
        attend = self._absorbed if absorb else self._expanded
        attended = attend(q_nope, q_rope, cached, mask)
        if mixer.head_gate:
            gates = self.g_proj(x).float().sigmoid().to(x.dtype)[..., None]
            attended = (attended.unflatten(-1, (mixer.num_heads, -1)) * gates).flatten(-2)
        out: Tensor = self.proj(attended)
        return out

    def _expanded(self, q_nope: Tensor, q_rope: Tensor, cached: Tensor, mask: AttentionMask) -> Tensor:
        """Return (B, T, H * V), with the keys and values of all heads expanded from the latent vectors."""
        mixer = self.spec
        latent, k_rope = cached[:, 0].split((mixer.kv_lora_rank, mixer.rope.rotary_dim), -1)
        expanded = self.kv_b_proj(latent).view(*latent.shape[:2], mixer.num_heads, -1).transpose(1, 2)
        keys, values = expanded.split((mixer.qk_nope_head_dim, mixer.v_head_dim), -1)
        keys = torch.cat((keys, k_rope[:, None].expand(-1, mixer.num_heads, -1, -1)), -1)
        return sdpa_attention(torch.cat((q_nope, q_rope), -1), keys, values, mask, scale=mixer.scale)

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, cached: Tensor, mask: AttentionMask) -> Tensor:
        """Return (B, T, H * V), with `kv_b_proj` absorbed into the queries and the output."""
        mixer = self.spec
        weight = effective_parameter(self.kv_b_proj, "weight").view(mixer.num_heads, -1, mixer.kv_lora_rank)
        to_keys, to_values = weight.split((mixer.qk_nope_head_dim, mixer.v_head_dim), 1)
        queries = torch.cat((torch.einsum("bthp,hpl->bthl", q_nope, to_keys), q_rope), -1)
        latent = cached[..., : mixer.kv_lora_rank]
        out = eager_attention(queries, cached, latent, mask, scale=mixer.scale)
        out = out.view(*q_nope.shape[:3], mixer.kv_lora_rank)
        return torch.einsum("bthl,hvl->bthv", out, to_values).flatten(-2)
