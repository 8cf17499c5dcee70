"""Multi-head latent attention."""

from collections.abc import Iterator
from typing import Self

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.mixer import CacheSpec, MixerSpec
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear
from litgpt.domain.model.rope import AttentionTemperature, RopeSpec
from litgpt.domain.model.sharding import Sharding, Split, even_range, unsupported


@attrs.frozen(kw_only=True)
class IndexerSpec:
    """The lightning indexer of DeepSeek Sparse Attention, which selects the tokens that a token attends to.

    It scores each earlier token by a weighted sum of `relu(query * key)` over its own small heads, which
    share the key. The selection has no gradient.

    Source: DeepSeek-AI 2025, arXiv:2512.02556, section 2.1.

    Attributes:
        top_k: Number of tokens that are selected.
        interleaved: Whether RoPE rotates adjacent dimensions; it is otherwise that of the attention.
        norm: Normalizes the keys.
    """

    num_heads: int
    head_dim: int
    top_k: int
    interleaved: bool
    norm: NormSpec

    __repr__ = brief_repr

    def parameters(self, name: str, hidden_size: int, q_lora_rank: int) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`, which all ranks of tensor parallelism have."""
        yield from linear(f"{name}.q_b_proj", self.num_heads * self.head_dim, q_lora_rank)
        yield from linear(f"{name}.k_proj", self.head_dim, hidden_size)
        yield from self.norm.parameters(f"{name}.k_norm", self.head_dim)
        for parameter in linear(f"{name}.weights_proj", self.num_heads, hidden_size):
            yield attrs.evolve(parameter, skip_quantization=True)


@attrs.frozen(kw_only=True)
class MLASpec(MixerSpec):
    """Multi-head latent attention (MLA): keys and values are projected from a compressed latent.

    Source: DeepSeek-AI 2024, arXiv:2405.04434, section 2.1, with the names of its config.

    Attributes:
        rope: RoPE, applied to `rope.rotary_dim` further dimensions of each query and of one key that all
            heads share.
        q_lora_rank: Dimension of the query latent; None projects queries directly.
        norm: Normalizes both latents.
        bias: Whether the down-projections and the output projection have a bias.
        output_gate: Whether each head's output is multiplied by a sigmoid gate. `q_gate_proj` then projects
            queries and gates from the query latent, before and after its norm (A.X K2).
        latent_scale: Factor of the normalized key-value latent (LongCat Flash).
        indexer: Selects the tokens that are attended to; None attends to all. Requires a query latent.
        indexer_layer: Index of the earlier layer whose selection this layer uses (cross-layer sharing,
            arXiv:2603.12201).
        rotated: Whether the `rope.rotary_dim` dimensions are rotated; False: the layer is without position
            embeddings (Kimi Linear).
        head_gate: Whether each head's output is multiplied by one sigmoid gate of the layer's input (Ling 3).
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
    attention_temperature: AttentionTemperature | None = None
    output_gate: bool = False
    latent_scale: float = 1.0
    indexer: IndexerSpec | None = None
    indexer_layer: int | None = None
    rotated: bool = True
    head_gate: bool = False

    __repr__ = brief_repr

    @property
    def num_kv_heads(self) -> int:
        return self.num_heads

    @property
    def head_dim(self) -> int:
        return self.qk_nope_head_dim + self.rope.rotary_dim

    @property
    def cache_spec(self) -> CacheSpec:
        """Per token, the latent and the shared rotated key, and in place of values the indexer's key.

        Values are projected from the latent.
        """
        index_dim = 0 if self.indexer is None else self.indexer.head_dim
        return CacheSpec(
            num_kv_heads=1, k_head_dim=self.kv_lora_rank + self.rope.rotary_dim, v_head_dim=index_dim
        )

    @property
    def activations_per_token(self) -> int:
        return self.num_heads * (3 * self.head_dim + 2 * self.v_head_dim)

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        heads, rank, bias = self.num_heads, self.kv_lora_rank, self.bias
        rows = Sharding(0, (Split(heads, self.head_dim),))
        if self.q_lora_rank is None:
            yield from linear(f"{name}.q_proj", heads * self.head_dim, hidden_size, sharding=rows)
        else:
            yield from linear(f"{name}.q_a_proj", self.q_lora_rank, hidden_size, bias=bias)
            yield from self.norm.parameters(f"{name}.q_a_norm", self.q_lora_rank)
            yield from self._query_parameters(name, self.q_lora_rank)
        if self.indexer is not None and self.q_lora_rank is not None:
            yield from self.indexer.parameters(f"{name}.indexer", hidden_size, self.q_lora_rank)
        cached = self.cache_spec.k_head_dim
        yield from linear(f"{name}.kv_a_proj_with_mqa", cached, hidden_size, bias=bias)
        yield from self.norm.parameters(f"{name}.kv_a_norm", rank)
        kv_size = self.qk_nope_head_dim + self.v_head_dim
        rows, columns = (Sharding(0, (Split(heads, kv_size),)), Sharding(1, (Split(heads, self.v_head_dim),)))
        for parameter in linear(f"{name}.kv_b_proj", heads * kv_size, rank, sharding=rows):
            yield attrs.evolve(parameter, skip_quantization=True)  # MLA absorbs parts of it into the queries
        if self.head_gate:
            one_each = Sharding(0, (Split(heads),))
            yield from linear(f"{name}.g_proj", heads, hidden_size, sharding=one_each)
        values = heads * self.v_head_dim
        yield from linear(f"{name}.proj", hidden_size, values, bias=bias, role="output", sharding=columns)

    def _query_parameters(self, name: str, rank: int) -> Iterator[ParameterSpec]:
        """Yield the projection of queries, and of gates if there are any, from the query latent."""
        size = self.head_dim + self.v_head_dim * self.output_gate
        rows, heads = Sharding(0, (Split(self.num_heads, size),)), self.num_heads
        if self.output_gate:
            yield from linear(f"{name}.q_gate_proj", heads * size, 2 * rank, sharding=rows)
        else:
            yield from linear(f"{name}.q_b_proj", heads * size, rank, sharding=rows)

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's heads; the latent is replicated."""
        first, last = even_range(self.num_heads, world_size, rank)
        if first == last:
            raise unsupported(world_size, f"there are only {self.num_heads} heads")
        return attrs.evolve(self, num_heads=last - first)
