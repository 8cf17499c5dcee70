"""Per-layer embeddings of Gemma 3n: a second token embedding with one vector for each layer."""

# B batch, T tokens of this call, N layers, P size of a per-layer embedding, D hidden size

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.mlp import ACTIVATIONS
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.ops.linear import Embedding, Linear
from litgpt.domain.model import LayerSpec, PerLayerEmbeddingSpec, PerLayerInputSpec


class PerLayerEmbedding(nn.Module):
    """The per-layer embedding, averaged with a projection of the token embedding."""

    def __init__(self, hidden_size: int, num_layers: int, spec: PerLayerEmbeddingSpec) -> None:
        super().__init__()
        self.embedding = Embedding(spec.vocab_size, num_layers * spec.hidden_size_per_layer)
        self.proj = Linear(hidden_size, num_layers * spec.hidden_size_per_layer, bias=False)
        self.norm = Norm(spec.hidden_size_per_layer, spec.norm)
        self.size, self.rows, self.shrink = spec.hidden_size_per_layer, spec.vocab_size, hidden_size**-0.5

    def forward(self, input_ids: Tensor, x: Tensor) -> Tensor:
        """Return the embeddings (B, T, N, P) of tokens whose token embedding is `x` (B, T, D)."""
        # The token embedding may have more rows than this one; tokens without a row use row 0.
        input_ids = input_ids.where(input_ids < self.rows, 0)
        scale = torch.tensor(self.size**0.5, dtype=x.dtype)  # rounded, as in training
        embedded = (self.embedding(input_ids) * scale).unflatten(-1, (-1, self.size))
        projected: Tensor = self.norm((self.proj(x) * self.shrink).unflatten(-1, (-1, self.size)))
        combined: Tensor = (projected + embedded) * 2**-0.5
        return combined


class PerLayerInput(nn.Module):
    """The update of one layer: `norm(proj(activation(gate(x)) * per_layer))`."""

    def __init__(self, hidden_size: int, spec: PerLayerInputSpec) -> None:
        super().__init__()
        self.gate = Linear(hidden_size, spec.hidden_size_per_layer, bias=False)
        self.proj = Linear(spec.hidden_size_per_layer, hidden_size, bias=False)
        self.norm = Norm(hidden_size, spec.norm)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x: Tensor, per_layer: Tensor) -> Tensor:
        """Return the update (B, T, D) of `x` (B, T, D), given the layer's embedding (B, T, P)."""
        update: Tensor = self.norm(self.proj(self.activation(self.gate(x)) * per_layer))
        return update


def layer_scale(layer: LayerSpec) -> nn.Parameter | None:
    """Return the scalar that multiplies the residual stream after a layer; None if it has no scale."""
    return nn.Parameter(torch.empty(1)) if layer.layer_scale else None
