"""Embeddings that every layer adds to the stream, beside the one that it begins with."""

import attrs

from litgpt.domain.architecture.feedforward import Activation
from litgpt.domain.architecture.norms import Norm


@attrs.frozen(kw_only=True)
class LayerEmbeddings:
    """A second embedding of each token, with a part for each layer, joined with a projection of the first.

    Attributes:
        size: Numbers for each layer.
        vocab_size: Rows.
        norm: Of each layer's part of the projection.

    """

    size: int
    vocab_size: int
    norm: Norm


@attrs.frozen(kw_only=True)
class LayerInput:
    """How a layer adds its part: `norm(proj(activation(gate(x)) * part))`.

    Attributes:
        size: Numbers in the part.
        activation: What gates.
        norm: Of what is added.

    """

    size: int
    activation: Activation
    norm: Norm
