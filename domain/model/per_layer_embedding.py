"""Per-layer embeddings (Gemma 3n and 4)."""

from collections.abc import Iterator

import attrs

from litgpt.domain.model.mlp import Activation
from litgpt.domain.model.norm import NormSpec
from litgpt.domain.model.parameter_spec import ParameterSpec, linear, tensor


@attrs.frozen(kw_only=True)
class PerLayerEmbeddingSpec:
    """A second token embedding with a slice for each layer, combined with a projection of the first.

    `norm` normalizes each layer's slice of the projection.
    """

    hidden_size_per_layer: int
    vocab_size: int
    norm: NormSpec

    def parameters(self, name: str, num_layers: int, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`."""
        size = self.hidden_size_per_layer
        yield tensor(f"{name}.embedding.weight", self.vocab_size, num_layers * size, role="embedding")
        yield from linear(f"{name}.proj", num_layers * size, hidden_size)
        yield from self.norm.parameters(f"{name}.norm", size)


@attrs.frozen(kw_only=True)
class PerLayerInputSpec:
    """A layer's per-layer input: `x + norm(proj(activation(gate(x)) * embedding))`."""

    hidden_size_per_layer: int
    activation: Activation
    norm: NormSpec

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        """Yield the parameters of the module `name`."""
        yield from linear(f"{name}.gate", self.hidden_size_per_layer, hidden_size)
        yield from linear(f"{name}.proj", hidden_size, self.hidden_size_per_layer, role="output")
        yield from self.norm.parameters(f"{name}.norm", hidden_size)
