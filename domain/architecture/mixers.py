"""Attention layers."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.architecture.absent import NothingBesides
from litgpt.domain.architecture.delta import GatedDelta
from litgpt.domain.architecture.kept import Kept
from litgpt.domain.architecture.norms import Norm
from litgpt.domain.architecture.positions import Alibi, QueryScaling, Rotary
from litgpt.domain.messages import brief_repr


@attrs.frozen(kw_only=True)
class QkNorm:
    """Normalization of queries and keys.

    Attributes:
        norm: The norm of both.
        over: `head` normalizes each head, with shared weights; `heads` normalizes each head, with separate
            weights; `all` normalizes all heads of a token together.
        after_rotary: Whether RoPE is applied before the norm.

    """

    norm: Norm
    over: Literal["head", "heads", "all"] = "head"
    after_rotary: bool = False


@attrs.frozen(kw_only=True)
class Attention:
    """Causal softmax attention with grouped-query heads.

    Optional features are disabled by None.

    Attributes:
        heads: Number of query heads.
        groups: Number of key-value heads; divides `heads` (Ainslie et al. 2023, arXiv:2305.13245).
        head_size: Head dimension.
        scale: Factor of the attention scores; usually `head_size ** -0.5`.
        rotary: Rotary position embedding.
        query_scaling: Position-dependent attention temperature.
        alibi: ALiBi slopes.
        window: Sliding-window size in tokens, including the current token; None is full attention.
        chunked: Whether attention is confined to consecutive chunks of `window` tokens instead of a sliding
            window (Llama 4).
        qkv_bias: Whether the query, key and value projections have a bias.
        output_bias: Whether the output projection has a bias.
        qk_norm: Normalization of queries and keys.
        clip: Queries, keys and values are clamped to `[-clip, clip]` (OLMo).
        cap: Scores are soft-capped to `cap * tanh(scores / cap)` (Gemma 2).
        sinks: Whether each head has a trained sink logit in the softmax (gpt-oss; after Xiao et al. 2023,
            arXiv:2309.17453).
        value_norm: Normalization of each head's values.
        values_are_keys: Whether values equal the key projection, before norm and RoPE (Gemma 4).
        lender: Index of the layer whose KV cache this layer reads; it has no key and value projection then
            (cross-layer KV sharing, Gemma 3n).
        gated: Whether the output is multiplied by a sigmoid gate of the layer's input (Qwen 3 Next).

    """

    heads: int
    groups: int
    head_size: int
    scale: float
    rotary: Rotary | None
    query_scaling: QueryScaling | None = None
    alibi: Alibi | None = None
    window: int | None = None
    chunked: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: QkNorm | None = None
    clip: float | None = None
    cap: float | None = None
    sinks: bool = False
    value_norm: Norm | None = None
    values_are_keys: bool = False
    lender: int | None = None
    gated: bool = False

    __repr__ = brief_repr

    @property
    def qkv_rows(self) -> tuple[int, int, int]:
        """Rows of queries, keys and values in the joint projection, in that order."""
        own = 0 if self.lender is not None else self.groups * self.head_size
        return (self.heads * self.head_size, own, 0 if self.values_are_keys else own)

    @property
    def kept(self) -> Kept:
        own = 0 if self.lender is not None else self.groups
        return Kept(heads=own, key=self.head_size, value=self.head_size)

    @property
    def numbers_per_token(self) -> int:
        """Approximate number of activation values alive at the same time, per token."""
        return 2 * sum(self.qkv_rows) + self.qkv_rows[0]


@attrs.frozen(kw_only=True)
class LatentAttention(NothingBesides):
    """Multi-head latent attention (MLA): keys and values are projected from a compressed latent.

    Source: DeepSeek-AI 2024, arXiv:2405.04434, section 2.1.

    Attributes:
        heads: Number of heads.
        plain_size: Dimension of a query or key without RoPE (`qk_nope_head_dim`).
        rotary: RoPE, applied to `rotary.size` further dimensions of each query and of one key that all heads
            share.
        value_size: Value dimension.
        latent_size: Dimension of the key-value latent (`kv_lora_rank`).
        query_size: Dimension of the query latent (`q_lora_rank`); None projects queries directly.
        scale: Factor of the attention scores.
        norm: Normalizes both latents.
        bias: Whether the down-projections and the output projection have a bias.

    """

    heads: int
    plain_size: int
    rotary: Rotary
    value_size: int
    latent_size: int
    query_size: int | None
    scale: float
    norm: Norm
    bias: bool = False

    __repr__ = brief_repr

    @property
    def groups(self) -> int:
        return self.heads

    @property
    def head_size(self) -> int:
        return self.plain_size + self.rotary.size

    @property
    def kept(self) -> Kept:
        """Per token, the latent and the shared rotated key; values are projected from the latent."""
        return Kept(heads=1, key=self.latent_size + self.rotary.size, value=0)

    @property
    def numbers_per_token(self) -> int:
        return self.heads * (3 * self.head_size + 2 * self.value_size)


Mixer: TypeAlias = Attention | LatentAttention | GatedDelta
