"""Softmax attention."""

from collections.abc import Iterator
from math import ceil
from typing import Literal, Self

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor
from litgpt.domain.model.rope import AlibiSpec, AttentionTemperature, RopeSpec
from litgpt.domain.model.sharding import Sharding, Split, unsupported

QUERY_BLOCK = 128
"""Number of queries whose scores attention without a fused kernel computes at once."""


@attrs.frozen(kw_only=True)
class QkNormSpec:
    """Normalization of queries and keys.

    Attributes:
        scope: `head` normalizes each head, with shared weights; `heads` normalizes each head, with separate
            weights; `all` normalizes all heads of a token together.
        after_rope: Whether RoPE is applied before the norm.
    """

    norm: NormSpec
    scope: Literal["head", "heads", "all"] = "head"
    after_rope: bool = False

    def parameters(self, name: str, heads: Split) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`, the norm of these heads."""
        if self.scope == "head":
            yield from self.norm.parameters(name, heads.size)
            return
        sharding = Sharding(0, (heads,))
        for parameter in self.norm.parameters(name, heads.count * heads.size, sharding=sharding):
            pieces = (heads.size,) * heads.count if self.scope == "heads" else parameter.split_sizes
            yield attrs.evolve(parameter, split_sizes=pieces)


@attrs.frozen(kw_only=True)
class AttentionSpec(MixerSpec):
    """Causal softmax attention with grouped-query heads (Ainslie et al. 2023, arXiv:2305.13245).

    Optional features are disabled by None.

    Attributes:
        num_kv_heads: Number of key-value heads; divides `num_heads`.
        scale: Factor of the attention scores; usually `head_dim ** -0.5`.
        sliding_window: Sliding-window size in tokens, including the current token; None is full attention.
        chunked: Whether attention is confined to consecutive chunks of `sliding_window` tokens instead of a
            sliding window (Llama 4).
        clip_qkv: Queries, keys and values are clamped to `[-clip_qkv, clip_qkv]` (OLMo), after QK-Norm and
            before RoPE.
        attn_logit_softcap: Scores are soft-capped to `cap * tanh(scores / cap)` (Gemma 2).
        attention_sinks: Whether each head has a trained sink logit in the softmax (gpt-oss; after Xiao et al.
            2023, arXiv:2309.17453).
        value_norm: Normalization of each head's values.
        shared_kv_projection: Whether values equal the key projection, before norm and RoPE (Gemma 4).
        kv_shared_layer: Index of the layer whose KV cache this layer reads; it has no key and value
            projection then (cross-layer KV sharing, Gemma 3n).
        v_head_dim: Dimension of a head's values; None is `head_dim`.
        value_scale: Factor of the values (MiMo V2).
        output_gate: Whether the output is multiplied by a sigmoid gate of the layer's input (Qwen 3 Next).
        head_gate: Whether each head's output is multiplied by one sigmoid gate of the layer's input (LFM3).
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    scale: float
    rope: RopeSpec | None
    attention_temperature: AttentionTemperature | None = None
    alibi: AlibiSpec | None = None
    sliding_window: int | None = None
    chunked: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: QkNormSpec | None = None
    clip_qkv: float | None = None
    attn_logit_softcap: float | None = None
    attention_sinks: bool = False
    value_norm: NormSpec | None = None
    shared_kv_projection: bool = False
    kv_shared_layer: int | None = None
    v_head_dim: int | None = None
    value_scale: float = 1.0
    output_gate: bool = False
    head_gate: bool = False

    __repr__ = brief_repr

    @property
    def qkv_sizes(self) -> tuple[int, int, int]:
        """Rows of queries, keys and values in the joint projection, in that order."""
        own = 0 if self.kv_shared_layer is not None else self.num_kv_heads
        values = 0 if self.shared_kv_projection else own * self.value_dim
        return (self.num_heads * self.head_dim, own * self.head_dim, values)

    @property
    def value_dim(self) -> int:
        """Dimension of a head's values."""
        return self.head_dim if self.v_head_dim is None else self.v_head_dim

    @property
    def output_size(self) -> int:
        """Columns of the output projection."""
        return self.num_heads * self.value_dim

    @property
    def cache_spec(self) -> CacheSpec:
        own = 0 if self.kv_shared_layer is not None else self.num_kv_heads
        return CacheSpec(num_kv_heads=own, k_head_dim=self.head_dim, v_head_dim=self.value_dim)

    @property
    def activations_per_token(self) -> int:
        return 2 * sum(self.qkv_sizes) + self.qkv_sizes[0]

    @property
    def needs_scores(self) -> bool:
        """Whether scores are changed in a way that fused kernels do not support."""
        return bool(self.attn_logit_softcap or self.attention_sinks or self.alibi)

    def score_bytes(self, tokens: int, length: int, dtype_bytes: int) -> int:
        if not self.needs_scores:
            return 0
        # The float32 scores after each operation, their copy in the compute dtype, the queries, and for each
        # block of queries the keys and values, repeated for all heads of a group.
        half = dtype_bytes < 4
        copies = 1 + (self.attn_logit_softcap is not None) + self.attention_sinks * (1 if half else 2)
        scores = tokens * self.num_heads * length * (4 * copies + half * dtype_bytes)
        repeated = 2 * ceil(length / QUERY_BLOCK) if self.num_kv_heads != self.num_heads else 0
        return scores + tokens * self.num_heads * self.head_dim * (1 + repeated) * dtype_bytes

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        rows, queries, groups, size = self.qkv_sizes, self._query_heads, self.num_kv_heads, self.head_dim
        # A shared KV cache needs zero rows of keys and values, K=V zero rows of values.
        sizes = zip(rows[1:], (size, self.value_dim), strict=True)
        kv = (attrs.evolve(self._kv_heads, size=each if count else 0) for count, each in sizes)
        outputs = attrs.evolve(queries, size=self.value_dim)
        qkv, by_head, columns = Sharding(0, (queries, *kv)), Sharding(0, (outputs,)), Sharding(1, (outputs,))
        for parameter in linear(f"{name}.qkv", sum(rows), hidden_size, bias=self.qkv_bias, sharding=qkv):
            yield attrs.evolve(parameter, split_sizes=rows, num_groups=groups, head_dim=size)
        if self.output_gate:
            width = self.output_size
            gate = linear(f"{name}.gate", width, hidden_size, bias=self.qkv_bias, sharding=by_head)
            yield from (attrs.evolve(parameter, head_dim=self.value_dim) for parameter in gate)
        if self.head_gate:
            one_each = Sharding(0, (attrs.evolve(queries, size=1),))
            yield from linear(f"{name}.head_gate", self.num_heads, hidden_size, sharding=one_each)
        if self.qk_norm:
            yield from self.qk_norm.parameters(f"{name}.norm_q", queries)
            if self.kv_shared_layer is None:
                yield from self.qk_norm.parameters(f"{name}.norm_k", self._kv_heads)
        if self.value_norm is not None:
            yield from self.value_norm.parameters(f"{name}.norm_v", self.value_dim)
        if self.attention_sinks:
            one_each = Sharding(0, (attrs.evolve(queries, size=1),))
            yield tensor(f"{name}.sinks", self.num_heads, role="bias", sharding=one_each)
        bias = self.output_bias
        width = self.output_size
        yield from linear(f"{name}.proj", hidden_size, width, bias=bias, role="output", sharding=columns)

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's heads.

        With at least as many groups as ranks, groups are not split. Otherwise, each rank has some queries of
        one group, and the group's key-value head is replicated.
        """
        heads, groups = self.num_heads, self.num_kv_heads
        if groups < world_size and (world_size % groups or heads % world_size):
            raise unsupported(world_size, f"{heads} heads in {groups} groups cannot be split evenly")
        first, last = self._query_heads.items(world_size, rank)
        low, high = self._kv_heads.items(world_size, rank)
        alibi = self.alibi and attrs.evolve(self.alibi, slopes=self.alibi.slopes[first:last])
        return attrs.evolve(self, num_heads=last - first, num_kv_heads=high - low, alibi=alibi)

    @property
    def _query_heads(self) -> Split:
        return Split(self.num_heads, self.head_dim, num_groups=self.num_kv_heads)

    @property
    def _kv_heads(self) -> Split:
        return Split(self.num_kv_heads, self.head_dim, replicated=True)
