"""Attention layers."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.cache_spec import CacheSpec
from litgpt.domain.model.gated_delta import GatedDeltaSpec
from litgpt.domain.model.mixer_defaults import MixerDefaults
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.rope import AlibiSpec, AttentionTemperature, RopeSpec


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


@attrs.frozen(kw_only=True)
class AttentionSpec:
    """Causal softmax attention with grouped-query heads (Ainslie et al. 2023, arXiv:2305.13245).

    Optional features are disabled by None.

    Attributes:
        num_kv_heads: Number of key-value heads; divides `num_heads`.
        scale: Factor of the attention scores; usually `head_dim ** -0.5`.
        sliding_window: Sliding-window size in tokens, including the current token; None is full attention.
        chunked: Whether attention is confined to consecutive chunks of `sliding_window` tokens instead of a
            sliding window (Llama 4).
        clip_qkv: Queries, keys and values are clamped to `[-clip_qkv, clip_qkv]` (OLMo).
        attn_logit_softcap: Scores are soft-capped to `cap * tanh(scores / cap)` (Gemma 2).
        attention_sinks: Whether each head has a trained sink logit in the softmax (gpt-oss; after Xiao et al.
            2023, arXiv:2309.17453).
        value_norm: Normalization of each head's values.
        shared_kv_projection: Whether values equal the key projection, before norm and RoPE (Gemma 4).
        kv_shared_layer: Index of the layer whose KV cache this layer reads; it has no key and value
            projection then (cross-layer KV sharing, Gemma 3n).
        output_gate: Whether the output is multiplied by a sigmoid gate of the layer's input (Qwen 3 Next).
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
    output_gate: bool = False

    __repr__ = brief_repr

    @property
    def qkv_sizes(self) -> tuple[int, int, int]:
        """Rows of queries, keys and values in the joint projection, in that order."""
        own = 0 if self.kv_shared_layer is not None else self.num_kv_heads * self.head_dim
        return (self.num_heads * self.head_dim, own, 0 if self.shared_kv_projection else own)

    @property
    def cache_spec(self) -> CacheSpec:
        own = 0 if self.kv_shared_layer is not None else self.num_kv_heads
        return CacheSpec(num_kv_heads=own, k_head_dim=self.head_dim, v_head_dim=self.head_dim)

    @property
    def activations_per_token(self) -> int:
        """Approximate number of activation values alive at the same time, per token."""
        return 2 * sum(self.qkv_sizes) + self.qkv_sizes[0]


@attrs.frozen(kw_only=True)
class MLASpec(MixerDefaults):
    """Multi-head latent attention (MLA): keys and values are projected from a compressed latent.

    Source: DeepSeek-AI 2024, arXiv:2405.04434, section 2.1, with the names of its config.

    Attributes:
        rope: RoPE, applied to `rope.rotary_dim` further dimensions of each query and of one key that all
            heads share.
        q_lora_rank: Dimension of the query latent; None projects queries directly.
        norm: Normalizes both latents.
        bias: Whether the down-projections and the output projection have a bias.
    """

    num_heads: int
    qk_nope_head_dim: int
    rope: RopeSpec
    v_head_dim: int
    kv_lora_rank: int
    q_lora_rank: int | None
    scale: float
    norm: NormSpec
    bias: bool = False

    __repr__ = brief_repr

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @property
    def head_dim(self) -> int:
        return self.qk_nope_head_dim + self.rope.rotary_dim

    @property
    def cache_spec(self) -> CacheSpec:
        """Per token, the latent and the shared rotated key; values are projected from the latent."""
        return CacheSpec(num_kv_heads=1, k_head_dim=self.kv_lora_rank + self.rope.rotary_dim, v_head_dim=0)

    @property
    def activations_per_token(self) -> int:
        return self.num_heads * (3 * self.head_dim + 2 * self.v_head_dim)


MixerSpec: TypeAlias = AttentionSpec | MLASpec | GatedDeltaSpec
