"""A decoder layer, and a whole model."""

import attrs

from litgpt.domain.architecture.feedforward import AnyFeedForward
from litgpt.domain.architecture.inputs import LayerEmbeddings, LayerInput
from litgpt.domain.architecture.mixers import Mixer
from litgpt.domain.architecture.norms import Norm
from litgpt.domain.architecture.streams import AlternatingUpdates
from litgpt.domain.messages import brief_repr


@attrs.frozen(kw_only=True)
class Layer:
    """A decoder layer: a mixer and a feed-forward layer, each with a residual connection.

    Optional parts are absent if None.

    Attributes:
        mixer: Attention or linear attention.
        feed_forward: MLP or MoE.
        norm_1: Norm before the mixer.
        norm_2: Norm before the feed-forward layer. In a parallel layer without it, the feed-forward layer
            reads the mixer's input.
        post_mixer_norm: Norm of the mixer's output, before the residual addition.
        post_mlp_norm: Norm of the feed-forward layer's output, before the residual addition.
        parallel: Whether the feed-forward layer and the mixer read the same residual stream.
        residual_scale: Factor of both outputs before the residual addition.
        input: Per-layer input, added at the end of the layer.
        scaled: Whether a trained scalar multiplies the layer's output.
        updates: AltUp over several residual streams (Gemma 3n).

    """

    mixer: Mixer
    feed_forward: AnyFeedForward
    norm_1: Norm | None
    norm_2: Norm | None
    post_mixer_norm: Norm | None = None
    post_mlp_norm: Norm | None = None
    parallel: bool = False
    residual_scale: float | None = None
    input: LayerInput | None = None
    scaled: bool = False
    updates: AlternatingUpdates | None = None

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class Architecture:
    """The structure of a decoder-only language model, without its weights.

    Optional parts are absent if None.

    Attributes:
        family: `model_type` of the config.
        width: Hidden size.
        vocab_size: Rows of the embedding and of the LM head.
        context: Context length in tokens.
        layers: The decoder layers.
        final_norm: Norm before the LM head.
        tied: Whether the LM head shares the embedding's weight.
        head_bias: Whether the LM head has a bias.
        embedding_scale: Factor of the embeddings.
        embedding_norm: Norm of the embeddings (BLOOM).
        logit_scale: Factor of the logits.
        logit_cap: Logits are soft-capped to `logit_cap * tanh(logits / logit_cap)` (Gemma 2).
        learned_positions: Number of rows of the learned position embedding.
        first_position: Row of the first token in it.
        layer_embeddings: Per-layer embeddings (Gemma 3n and 4).

    """

    family: str
    width: int
    vocab_size: int
    context: int
    layers: tuple[Layer, ...] = attrs.field(repr=False)
    final_norm: Norm | None
    tied: bool
    head_bias: bool = False
    embedding_scale: float | None = None
    embedding_norm: Norm | None = None
    logit_scale: float | None = None
    logit_cap: float | None = None
    learned_positions: int | None = None
    first_position: int = 0
    layer_embeddings: LayerEmbeddings | None = None

    __repr__ = brief_repr

    @property
    def streams(self) -> int:
        return next((layer.updates.streams for layer in self.layers if layer.updates is not None), 1)
