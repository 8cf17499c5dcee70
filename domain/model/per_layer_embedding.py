"""Per-layer embeddings (Gemma 3n and 4)."""

import attrs

from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec


@attrs.frozen(kw_only=True)
class PerLayerEmbeddingSpec:
    """A second token embedding with a slice for each layer, combined with a projection of the first.

    Attributes:
        hidden_size_per_layer: Embedding dimension per layer.
        vocab_size: Number of rows.
        norm: Normalizes each layer's slice of the projection.

    """

    hidden_size_per_layer: int
    vocab_size: int
    norm: NormSpec


@attrs.frozen(kw_only=True)
class PerLayerInputSpec:
    """A layer's per-layer input: `x + norm(proj(activation(gate(x)) * embedding))`.

    Attributes:
        hidden_size_per_layer: Embedding dimension per layer.
        activation: Activation of the gate.
        norm: Normalizes the projected result.

    """

    hidden_size_per_layer: int
    activation: Activation
    norm: NormSpec
