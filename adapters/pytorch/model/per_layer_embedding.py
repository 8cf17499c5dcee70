"""A second embedding of each token, of which every layer adds its part to the stream."""

# B batch, T tokens in this call, N layers, P numbers in a part

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.mlp import ACTIVATIONS
from litgpt.adapters.pytorch.model.norm import Norm
from litgpt.adapters.pytorch.ops.linear import Embedding, Linear
from litgpt.domain.model import LayerSpec, PerLayerEmbeddingSpec, PerLayerInputSpec


class PerLayerEmbedding(nn.Module):
    """The second embedding, joined with a projection of the first."""

    def __init__(self, hidden_size: int, num_layers: int, spec: PerLayerEmbeddingSpec) -> None:
        super().__init__()
        self.embedding = Embedding(spec.vocab_size, num_layers * spec.hidden_size_per_layer)
        self.proj = Linear(hidden_size, num_layers * spec.hidden_size_per_layer, bias=False)
        self.norm = Norm(spec.hidden_size_per_layer, spec.norm)
        self.size, self.rows, self.shrink = spec.hidden_size_per_layer, spec.vocab_size, hidden_size**-0.5

    def forward(self, input_ids: Tensor, x: Tensor) -> Tensor:
        """Return all parts (B, T, N, P) of the tokens whose first embedding is `x` (B, T, width)."""
        # The first embedding may have more tokens: those have the part of token 0.
        input_ids = input_ids.where(input_ids < self.rows, 0)
        scale = torch.tensor(self.size**0.5, dtype=x.dtype)  # rounded, as the model was trained
        told = (self.embedding(input_ids) * scale).unflatten(-1, (-1, self.size))
        made: Tensor = self.norm((self.proj(x) * self.shrink).unflatten(-1, (-1, self.size)))
        both: Tensor = (made + told) * 2**-0.5
        return both


class PerLayerInput(nn.Module):
    """What a layer adds of its part: `norm(proj(activation(gate(x)) * part))`."""

    def __init__(self, hidden_size: int, spec: PerLayerInputSpec) -> None:
        super().__init__()
        self.gate = Linear(hidden_size, spec.hidden_size_per_layer, bias=False)
        self.proj = Linear(spec.hidden_size_per_layer, hidden_size, bias=False)
        self.norm = Norm(hidden_size, spec.norm)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x: Tensor, per_layer: Tensor) -> Tensor:
        """Return (B, T, width) for `x` of that shape and its part (B, T, P)."""
        added: Tensor = self.norm(self.proj(self.activation(self.gate(x)) * per_layer))
        return added


def layer_scale(layer: LayerSpec) -> nn.Parameter | None:
    """Return the number that multiplies the stream after a layer; None if there is none."""
    return nn.Parameter(torch.empty(1)) if layer.layer_scale else None
