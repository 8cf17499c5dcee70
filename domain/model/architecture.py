"""A decoder layer, and a whole model."""

from collections.abc import Iterator
from typing import Self

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.altup import AltUpSpec
from litgpt.domain.model.mixer import MixerSpec
from litgpt.domain.model.mlp import FeedForwardSpec
from litgpt.domain.model.moe import ShortcutMoESpec
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor
from litgpt.domain.model.per_layer_embedding import PerLayerEmbeddingSpec, PerLayerInputSpec
from litgpt.domain.model.rope import SinusoidalSpec
from litgpt.domain.model.sharding import Sharding, Split, unsupported


@attrs.frozen(kw_only=True)
class NormedResidualSpec:
    """Residual connections around the mixer and the MLP that begin after the norm of their input.

    The residual is `alpha * norm(x) + beta * part(norm(x))`.

    Source: MiniMax 2025, arXiv:2501.08313; the factors are those of Wang et al. 2022, arXiv:2203.00555.
    """

    mixer_alpha: float
    mixer_beta: float
    mlp_alpha: float
    mlp_beta: float


@attrs.frozen(kw_only=True)
class LayerSpec:
    """A decoder layer: a mixer and an MLP or MoE, each with a residual connection.

    A layer with `AbsentMixerSpec` or `AbsentMLPSpec` has only the other part.

    Optional parts are absent if None.

    Attributes:
        norm_1: Norm before the mixer.
        norm_2: Norm before the MLP. In a parallel layer without it, the MLP reads the mixer's input.
        post_mixer_norm: Norm of the mixer's output, before the residual addition.
        post_mlp_norm: Norm of the MLP's output, before the residual addition.
        post_ln: Whether `norm_1` and `norm_2` normalize the residual stream after the additions instead, as
            in the original transformer (Vaswani et al. 2017, arXiv:1706.03762).
        parallel_residual: Whether the MLP and the mixer read the same residual stream.
        residual_scale: Factor of both outputs before the residual addition.
        normed_residual: Residual connections after the norms (MiniMax-01), in place of the usual ones.
        per_layer_input: Per-layer input, added at the end of the layer.
        layer_scale: Whether a trained scalar multiplies the layer's output.
        adds_shortcut: Whether the previous layer's `ShortcutMoESpec` is added to the layer's output.
    """

    mixer: MixerSpec
    mlp: FeedForwardSpec
    norm_1: NormSpec | None
    norm_2: NormSpec | None
    post_mixer_norm: NormSpec | None = None
    post_mlp_norm: NormSpec | None = None
    post_ln: bool = False
    parallel_residual: bool = False
    residual_scale: float | None = None
    normed_residual: NormedResidualSpec | None = None
    per_layer_input: PerLayerInputSpec | None = None
    layer_scale: bool = False
    adds_shortcut: bool = False
    altup: AltUpSpec | None = None

    __repr__ = brief_repr

    @property
    def has_shortcut(self) -> bool:
        """Whether the layer begins or ends a shortcut around the next or this layer."""
        return self.adds_shortcut or isinstance(self.mlp, ShortcutMoESpec)

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`, in model order."""
        yield from _norm(f"{name}.norm_1", self.norm_1, hidden_size)
        yield from self.mixer.parameters(f"{name}.attn", hidden_size)
        yield from _norm(f"{name}.post_attention_norm", self.post_mixer_norm, hidden_size)
        yield from _norm(f"{name}.norm_2", self.norm_2, hidden_size)
        yield from self.mlp.parameters(f"{name}.mlp", hidden_size)
        yield from _norm(f"{name}.post_mlp_norm", self.post_mlp_norm, hidden_size)
        if self.per_layer_input is not None:
            yield from self.per_layer_input.parameters(f"{name}.input", hidden_size)
        if self.layer_scale:
            yield tensor(f"{name}.scale", 1, role="norm")
        if self.altup is not None:
            yield from self.altup.parameters(name, hidden_size)

    def shard(self, world_size: int, rank: int) -> Self:
        """Return a rank's shard of the layer; raise UnsupportedOperation if it cannot be divided."""
        if self.altup is not None and world_size > 1:
            raise unsupported(world_size, "layers of type AltUpSpec cannot be split")
        mixer, mlp = self.mixer.shard(world_size, rank), self.mlp.shard(world_size, rank)
        return attrs.evolve(self, mixer=mixer, mlp=mlp)


@attrs.frozen(kw_only=True)
class Architecture:
    """The structure of a decoder-only language model, without its weights.

    Optional parts are absent if None.

    Attributes:
        family: `model_type` of the config.
        vocab_size: Rows of the embedding and of the LM head.
        context_length: Context length in tokens.
        final_norm: Norm before the LM head.
        embedding_norm: Norm of the embeddings (BLOOM).
        final_logit_softcap: Logits are soft-capped to `cap * tanh(logits / cap)` (Gemma 2).
        num_position_embeddings: Number of rows of the learned position embedding.
        sinusoidal_positions: Sinusoidal position embedding.
        position_offset: Row, or position, of the first token in either.
        per_layer_embedding: Per-layer embeddings (Gemma 3n and 4).
    """

    family: str
    hidden_size: int
    vocab_size: int
    context_length: int
    layers: tuple[LayerSpec, ...] = attrs.field(repr=False)
    final_norm: NormSpec | None
    tie_word_embeddings: bool
    lm_head_bias: bool = False
    embedding_scale: float | None = None
    embedding_norm: NormSpec | None = None
    logit_scale: float | None = None
    final_logit_softcap: float | None = None
    num_position_embeddings: int | None = None
    sinusoidal_positions: SinusoidalSpec | None = None
    position_offset: int = 0
    per_layer_embedding: PerLayerEmbeddingSpec | None = None

    __repr__ = brief_repr

    @property
    def num_streams(self) -> int:
        return next((layer.altup.num_streams for layer in self.layers if layer.altup is not None), 1)

    @property
    def can_truncate_cache(self) -> bool:
        """Whether the last tokens of any sequence can be removed from the KV cache.

        Layers with a sliding window drop earlier tokens, and a state of fixed size cannot be reverted.
        """
        mixers = [layer.mixer for layer in self.layers]
        return all(it.sliding_window is None and not it.cache_spec.is_state for it in mixers)

    def parameters(self) -> Iterator[ParameterSpec]:
        """Yield every parameter once, in model order."""
        width, vocab = self.hidden_size, self.vocab_size
        by_vocab = Sharding(0, (Split(vocab),))
        yield tensor("transformer.wte.weight", vocab, width, role="embedding", sharding=by_vocab)
        yield from _norm("transformer.wte_norm", self.embedding_norm, width)
        if self.num_position_embeddings is not None:
            yield tensor("transformer.wpe.weight", self.num_position_embeddings, width, role="embedding")
        if self.per_layer_embedding is not None:
            layers = len(self.layers)
            yield from self.per_layer_embedding.parameters("transformer.per_layer", layers, width)
        for number in range(self.num_streams - 1):
            yield from linear(f"transformer.fork.{number}", width, width)
        for number, layer in enumerate(self.layers):
            yield from layer.parameters(f"transformer.h.{number}", width)
        for number in range(self.num_streams - 1):
            yield from linear(f"transformer.merge.{number}", width, width)
        yield from _norm("transformer.ln_f", self.final_norm, width)
        if not self.tie_word_embeddings:
            head = tensor("lm_head.weight", vocab, width, sharding=by_vocab)
            yield attrs.evolve(head, skip_quantization=True)
        if self.lm_head_bias:
            yield tensor("lm_head.bias", vocab, role="bias", sharding=by_vocab)


def _norm(name: str, norm: NormSpec | None, size: int) -> Iterator[ParameterSpec]:
    return iter(()) if norm is None else norm.parameters(name, size)
