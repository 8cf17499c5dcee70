"""Causal self-attention with grouped queries (GQA)."""

# B batch, T tokens of this call, S slots from kv_start on, H query heads, G key-value heads, E head size,
# V value head size, D hidden size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.adapters.pytorch.model.attention.kv_sharing import LayerState, SharedKV
from litgpt.adapters.pytorch.model.attention.sdpa import eager_attention, sdpa_attention
from litgpt.adapters.pytorch.model.cache.layer_cache import LayerCache
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.model.rope import PositionInfo, apply_rope
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.model import AttentionSpec, QkNormSpec


class CausalSelfAttention(nn.Module):
    """Self-attention of one layer; the rows of `qkv` are all queries, then keys, then values."""

    sinks: Tensor | None

    def __init__(self, hidden_size: int, spec: AttentionSpec) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = Linear(hidden_size, sum(spec.qkv_sizes), bias=spec.qkv_bias)
        self.proj = Linear(spec.output_size, hidden_size, bias=spec.output_bias)
        self.gate = _gate(hidden_size, spec) if spec.output_gate else None
        self.head_gate = Linear(hidden_size, spec.num_heads, bias=False) if spec.head_gate else None
        sinks = nn.Parameter(torch.empty(spec.num_heads)) if spec.attention_sinks else None
        self.register_parameter("sinks", sinks)
        self.uses_eager = spec.needs_scores
        if (qk_norm := spec.qk_norm) is not None:
            self.norm_q = _norm(qk_norm, spec.num_heads, spec.head_dim)
            if spec.kv_shared_layer is None:
                self.norm_k = _norm(qk_norm, spec.num_kv_heads, spec.head_dim)
        value_norm = spec.value_norm
        self.norm_v = None if value_norm is None else Norm(spec.value_dim, value_norm)

    def forward(
        self, x: Tensor, position: PositionInfo, mask: AttentionMask, cache: LayerState, cache_position: int
    ) -> Tensor:
        """Return the attention output (B, T, D) of `x` (B, T, D).

        `cache` is the KV cache of this layer, or the shared keys and values of another; None: no cache.
        `cache_position` is the slot of the first token in it.
        """
        attention = self.spec
        qkv = self.qkv(x)
        if attention.clip_qkv is not None and attention.qk_norm is None:
            qkv = _clip(qkv, attention)
        if attention.kv_shared_layer is None:
            queries, keys, values = self._heads(qkv, position)
            if cache is not None:
                assert isinstance(cache, (LayerCache, SharedKV))  # noqa: S101 - determined by the architecture
                keys, values = cache.write(keys, values, cache_position, mask.kv_start)
        else:
            assert isinstance(cache, SharedKV)  # noqa: S101 - as above
            queries = self._queries(qkv.unflatten(-1, (-1, attention.head_dim)), position)
            keys, values = cache.read(queries)
        if self.uses_eager:
            out = eager_attention(
                queries,
                keys,
                values,
                mask,
                scale=attention.scale,
                softcap=attention.attn_logit_softcap,
                sinks=self.sinks,
            )
        else:
            out = sdpa_attention(queries, keys, values, mask, scale=attention.scale)
        if self.gate is not None:
            out = out * self.gate(x).sigmoid()
        if self.head_gate is not None:
            gates = self.head_gate(x).sigmoid()[..., None]
            out = (out.unflatten(-1, (-1, attention.head_dim)) * gates).flatten(-2)
        result: Tensor = self.proj(out)
        return result

    def _heads(self, qkv: Tensor, position: PositionInfo) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (B, T, H, E), keys (B, G, T, E) and values (B, G, T, V)."""
        spec, rows = self.spec, self.spec.qkv_sizes
        first = rows[0] + rows[1]  # of the values
        both = qkv[..., :first].unflatten(-1, (-1, spec.head_dim))
        queries, keys = self._normed_and_rotated(both, position)
        if spec.shared_kv_projection:
            values = both[:, :, spec.num_heads :]
        else:
            values = qkv[..., first:].unflatten(-1, (-1, spec.value_dim))
        if spec.clip_qkv is not None and spec.qk_norm is not None:
            values = _clip(values, spec)
        if spec.value_scale != 1:
            values = values * spec.value_scale
        if self.norm_v is not None:
            values = self.norm_v(values)
        return queries, keys.transpose(1, 2), values.transpose(1, 2)

    def _queries(self, queries: Tensor, position: PositionInfo) -> Tensor:
        if self.spec.qk_norm is not None:
            queries = self.norm_q(queries)
        if position.rope is not None:
            queries = apply_rope(queries, position.rope)
        return queries

    def _normed_and_rotated(self, both: Tensor, position: PositionInfo) -> tuple[Tensor, Tensor]:
        """Return queries (B, T, H, E) and keys (B, T, G, E), given both as (B, T, H + G, E)."""
        heads, qk_norm, rope = self.spec.num_heads, self.spec.qk_norm, position.rope
        if rope is not None and (qk_norm is None or qk_norm.after_rope):
            both = apply_rope(both, rope)
        queries, keys = both[:, :, :heads], both[:, :, heads:]
        if qk_norm is not None:
            if qk_norm.scope == "all":
                queries = self.norm_q(queries.flatten(-2)).view_as(queries)
                keys = self.norm_k(keys.flatten(-2)).view_as(keys)
            else:
                queries, keys = self.norm_q(queries), self.norm_k(keys)
            if self.spec.clip_qkv is not None:
                queries, keys = _clip(queries, self.spec), _clip(keys, self.spec)
            if rope is not None and not qk_norm.after_rope:
                queries, keys = apply_rope(queries, rope), apply_rope(keys, rope)
        if position.query_temperature is not None:
            queries = queries * position.query_temperature
        return queries, keys


def _clip(x: Tensor, spec: AttentionSpec) -> Tensor:
    return x if spec.clip_qkv is None else x.clamp(-spec.clip_qkv, spec.clip_qkv)


def _gate(hidden_size: int, spec: AttentionSpec) -> Linear:
    return Linear(hidden_size, spec.output_size, bias=spec.qkv_bias)


def _norm(qk_norm: QkNormSpec, num_heads: int, head_dim: int) -> Norm:
    if qk_norm.scope == "all":
        return Norm(num_heads * head_dim, qk_norm.norm)
    return Norm(head_dim, qk_norm.norm, num_heads=num_heads if qk_norm.scope == "heads" else 1)
