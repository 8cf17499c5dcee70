"""The structure of a model: a tuple of layers, each composed of values.

The network is a fold over this value; footprint, sharding, export and other decoders walk the same one.
"""

from typing import Literal, TypeAlias

import attrs

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh"]


@attrs.frozen(kw_only=True)
class Norm:
    """A normalisation.

    Attributes:
        kind: `rms` divides by the root mean square (Zhang & Sennrich 2019, arXiv:1910.07467).
        eps: Added to the mean square.
        unit_offset: Whether the stored weight counts from 1, so that 0 means 1 (Gemma).

    """

    kind: Literal["rms"] = "rms"
    eps: float
    unit_offset: bool = False


@attrs.frozen(kw_only=True)
class LinearScaling:
    """Positions divided by a factor (Chen et al. 2023, arXiv:2306.15595)."""

    factor: float


@attrs.frozen(kw_only=True)
class Llama3Scaling:
    """Llama 3.1's scaling: long wavelengths divided by `factor`, short ones kept, a blend between.

    Attributes:
        factor: Divides the frequencies of long wavelengths.
        low_freq_factor: Wavelengths above `original_context / low_freq_factor` are long.
        high_freq_factor: Wavelengths below `original_context / high_freq_factor` are short.
        original_context: The context that the model was first trained with.

    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@attrs.frozen(kw_only=True)
class Rotary:
    """Rotary position embedding over the two halves of a head (Su et al. 2021, arXiv:2104.09864).

    Attributes:
        size: How many of a head's numbers are rotated, from the first.
        base: The wavelength's base, theta.
        scaling: How the frequencies were stretched for a longer context, if they were.

    """

    size: int
    base: float
    scaling: LinearScaling | Llama3Scaling | None = None


@attrs.frozen(kw_only=True)
class Attention:
    """Causal softmax attention in which groups of query heads share a key-value head.

    Attributes:
        heads: Query heads.
        groups: Key-value heads; divides `heads` (Ainslie et al. 2023, arXiv:2305.13245).
        head_size: Numbers in a head.
        scale: Multiplies the scores; usually `head_size ** -0.5`.
        rotary: How positions enter.
        window: How many tokens a token sees, itself included; None sees all before it.
        qkv_bias: Whether queries, keys and values have a bias.
        output_bias: Whether the projection after attention has one.
        qk_norm: Normalises each head's queries and keys before rotation.

    """

    heads: int
    groups: int
    head_size: int
    scale: float
    rotary: Rotary
    window: int | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: Norm | None = None

    @property
    def qkv_rows(self) -> tuple[int, int, int]:
        """The rows of queries, keys and values in the joined projection, in that order."""
        return (self.heads * self.head_size, self.groups * self.head_size, self.groups * self.head_size)


@attrs.frozen(kw_only=True)
class GatedFeedForward:
    """`proj(activation(fc_1(x)) * fc_2(x))` (Shazeer 2020, arXiv:2002.05202).

    Attributes:
        size: The width in the middle.
        activation: What gates.
        bias: Whether the three projections have one.

    """

    size: int
    activation: Activation
    bias: bool = False


@attrs.frozen(kw_only=True)
class Layer:
    """Attention and feed-forward, each added to the stream that passes by.

    Attributes:
        attention: What mixes tokens.
        feed_forward: What works on each token.
        norm: Before each of the two.
        norm_after: After each of the two, before it is added (Gemma 2 and 3); None has none.

    """

    attention: Attention
    feed_forward: GatedFeedForward
    norm: Norm
    norm_after: Norm | None = None


@attrs.frozen(kw_only=True)
class Architecture:
    """Everything that is needed to build a network, apart from its weights.

    Attributes:
        family: The `model_type` of its config.
        width: Numbers per token between the layers.
        vocab_size: Rows of the embedding and of the head.
        context: The longest text the model was made for, in tokens.
        layers: From the first to the last.
        final_norm: Before the head.
        tied: Whether the head is the embedding.
        embedding_scale: Multiplies the embedding; None leaves it.

    """

    family: str
    width: int
    vocab_size: int
    context: int
    layers: tuple[Layer, ...] = attrs.field(repr=False)
    final_norm: Norm
    tied: bool
    embedding_scale: float | None = None
