"""Per-layer embeddings (Gemma 3n and 4)."""

import attrs

from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec


@attrs.frozen(kw_only=True)
class PerLayerEmbeddingSpec:
    """A second token embedding with a slice for each layer, combined with a projection of the first.

    `norm` normalizes each layer's slice of the projection.
    """

    hidden_size_per_layer: int
    vocab_size: int
    norm: NormSpec


@attrs.frozen(kw_only=True)
class PerLayerInputSpec:
    """A layer's per-layer input: `x + norm(proj(activation(gate(x)) * embedding))`."""

    hidden_size_per_layer: int
    activation: Activation
    norm: NormSpec
