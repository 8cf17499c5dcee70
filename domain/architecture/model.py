"""A layer, and the whole of a model: a tuple of layers between an embedding and a head."""

import attrs

from litgpt.domain.architecture.feedforward import AnyFeedForward
from litgpt.domain.architecture.inputs import LayerEmbeddings, LayerInput
from litgpt.domain.architecture.mixers import Mixer
from litgpt.domain.architecture.norms import Norm
from litgpt.domain.architecture.streams import AlternatingUpdates
from litgpt.domain.messages import brief_repr


@attrs.frozen(kw_only=True)
class Layer:
    """A mixer and a feed-forward, each added to the stream that passes by.

    Attributes:
        mixer: What mixes tokens.
        feed_forward: What works on each token.
        norm_1: Before the mixer; None has none.
        norm_2: Before the feed-forward; None has none, and where both are side by side, it reads what the
            mixer reads.
        post_mixer_norm: After the mixer, before it is added; None has none.
        post_mlp_norm: After the feed-forward, before it is added; None has none.
        parallel: Whether the feed-forward reads the stream beside the mixer and not after it.
        residual_scale: Multiplies what is added; None leaves it.
        input: What is added of the token's second embedding, at the end; None adds nothing.
        scaled: Whether a learnt number multiplies the stream at the very end.
        updates: How it works on one of several streams (Gemma 3n); None: there is one.

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
    """Everything that is needed to build a network, apart from its weights.

    Attributes:
        family: The `model_type` of its config.
        width: Numbers per token between the layers.
        vocab_size: Rows of the embedding and of the head.
        context: The longest text the model was made for, in tokens.
        layers: From the first to the last.
        final_norm: Before the head; None has none.
        tied: Whether the head is the embedding.
        head_bias: Whether the head has a bias.
        embedding_scale: Multiplies the embedding; None leaves it.
        embedding_norm: Of the embedding (BLOOM); None has none.
        logit_scale: Multiplies the logits; None leaves them.
        logit_cap: Logits are squashed into plus and minus this by tanh (Gemma 2); None leaves them.
        learned_positions: Rows of a second embedding, of positions; None has none.
        first_position: The row of the first token.
        layer_embeddings: Another embedding, with a part for each layer (Gemma 3n and 4); None has none.

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
        """How many streams pass through the layers."""
        return next((one.updates.streams for one in self.layers if one.updates is not None), 1)
