"""Multi-head latent attention (MLA): only a compressed key-value vector is cached (arXiv:2405.04434)."""

# B batch, T tokens of this call, S slots from kv_start on, H heads, L kv_lora_rank, P qk_nope_head_dim,
# R qk_rope_head_dim, V v_head_dim, D hidden size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import IndexedCache, Selection
from litgpt.adapters.pytorch.model.attention.lightning_indexer import LightningIndexer
from litgpt.adapters.pytorch.model.attention.sdpa import eager_attention, sdpa_attention
from litgpt.adapters.pytorch.model.cache.layer_cache import LayerCache
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
            if spec.output_gate:
                gates = spec.num_heads * spec.v_head_dim
                self.q_gate_proj = Linear(2 * spec.q_lora_rank, queries + gates, bias=False)
            else:
                self.q_b_proj = Linear(spec.q_lora_rank, queries, bias=False)
            if spec.indexer is not None:
                self.indexer = LightningIndexer(hidden_size, spec.q_lora_rank, spec.indexer)
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
        cache: LayerCache | IndexedCache | None,
        cache_position: int,
    ) -> Tensor:
        batch, tokens, _ = x.shape
        mixer, rope = self.spec, position.rope
        assert rope is not None  # noqa: S101 - MLA always has RoPE
        selection = cache.selection if isinstance(cache, IndexedCache) else Selection()
        kept = cache.cache if isinstance(cache, IndexedCache) else cache
        queries, q_latent = self._project_queries(x)
        by_head = queries.view(batch, tokens, mixer.num_heads, -1)
        q_nope, q_rope, gate = by_head.tensor_split(
            (mixer.qk_nope_head_dim, mixer.qk_nope_head_dim + mixer.rope.rotary_dim), -1
        )
        if mixer.rotated:
            q_rope = apply_rope(q_rope, rope)
        if position.query_temperature is not None:
            q_nope, q_rope = q_nope * position.query_temperature, q_rope * position.query_temperature
        latent, k_rope = self.kv_a_proj_with_mqa(x).split((mixer.kv_lora_rank, mixer.rope.rotary_dim), -1)
        if mixer.rotated:
            k_rope = apply_rope(k_rope[:, :, None], rope)[:, :, 0]
        latent = self.kv_a_norm(latent)
        if mixer.latent_scale != 1:
            latent = latent * mixer.latent_scale
        cached = torch.cat((latent, k_rope), -1)[:, None]  # (B, 1, T, L + R)
        index_keys = cached[..., :0] if mixer.indexer is None else self.indexer.keys(x, rope)
        if kept is not None:
            cached, index_keys = kept.write(cached, index_keys, cache_position, mask.kv_start)
        if mixer.indexer is not None:
            few = index_keys.shape[2] <= mixer.indexer.top_k  # all are selected
            selection.mask = None if few else self.indexer.select(x, q_latent, index_keys, mask, rope)
        if selection.mask is not None:
            mask = AttentionMask(mask.kv_start, causal=False, mask=selection.mask.to(x.device))
        absorb = tokens <= _MAX_ABSORBED_TOKENS and not self.training
        attend = self._absorbed if absorb else self._expanded
        attended = attend(q_nope, q_rope, cached, mask)
        if mixer.output_gate:
            attended = (attended * gate.flatten(-2).float().sigmoid()).to(attended.dtype)
        if mixer.head_gate:
            gates = self.g_proj(x).float().sigmoid().to(x.dtype)[..., None]
            attended = (attended.unflatten(-1, (mixer.num_heads, -1)) * gates).flatten(-2)
        out: Tensor = self.proj(attended)
        return out

    def _project_queries(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the queries of all heads, each followed by its gate if there is one, and their latent."""
        if self.spec.q_lora_rank is None:
            return self.q_proj(x), x
        compressed = self.q_a_proj(x)
        latent = self.q_a_norm(compressed)
        if self.spec.output_gate:
            return self.q_gate_proj(torch.cat((latent, compressed), -1)), latent
        return self.q_b_proj(latent), latent

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
