"""A decoder layer, and a whole model."""

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.model.altup import AltUpSpec
from litgpt.domain.model.attention import MixerSpec
from litgpt.domain.model.mlp import AnyMLPSpec
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.per_layer_embedding import PerLayerEmbeddingSpec, PerLayerInputSpec


@attrs.frozen(kw_only=True)
class LayerSpec:
    """A decoder layer: a mixer and an MLP or MoE, each with a residual connection.

    Optional parts are absent if None.

    Attributes:
        norm_1: Norm before the mixer.
        norm_2: Norm before the MLP. In a parallel layer without it, the MLP reads the mixer's input.
        post_mixer_norm: Norm of the mixer's output, before the residual addition.
        post_mlp_norm: Norm of the MLP's output, before the residual addition.
        parallel_residual: Whether the MLP and the mixer read the same residual stream.
        residual_scale: Factor of both outputs before the residual addition.
        per_layer_input: Per-layer input, added at the end of the layer.
        layer_scale: Whether a trained scalar multiplies the layer's output.
    """

    mixer: MixerSpec
    mlp: AnyMLPSpec
    norm_1: NormSpec | None
    norm_2: NormSpec | None
    post_mixer_norm: NormSpec | None = None
    post_mlp_norm: NormSpec | None = None
    parallel_residual: bool = False
    residual_scale: float | None = None
    per_layer_input: PerLayerInputSpec | None = None
    layer_scale: bool = False
    altup: AltUpSpec | None = None

    __repr__ = brief_repr


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
        position_offset: Row of the first token in it.
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
    position_offset: int = 0
    per_layer_embedding: PerLayerEmbeddingSpec | None = None

    __repr__ = brief_repr

    @property
    def num_streams(self) -> int:
        return next((layer.altup.num_streams for layer in self.layers if layer.altup is not None), 1)
