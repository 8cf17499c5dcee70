"""Per-layer embeddings (Gemma 3n and 4)."""

import attrs

from litgpt.domain.architecture.feedforward import Activation
from litgpt.domain.architecture.norms import Norm


@attrs.frozen(kw_only=True)
class LayerEmbeddings:
    """A second token embedding with a slice for each layer, combined with a projection of the first.

    Attributes:
        size: Embedding dimension per layer.
        vocab_size: Number of rows.
        norm: Normalizes each layer's slice of the projection.

    """

    size: int
    vocab_size: int
    norm: Norm


@attrs.frozen(kw_only=True)
class LayerInput:
    """A layer's per-layer input: `x + norm(proj(activation(gate(x)) * embedding))`.

    Attributes:
        size: Embedding dimension per layer.
        activation: Activation of the gate.
        norm: Normalizes the projected result.

    """

    size: int
    activation: Activation
    norm: Norm
