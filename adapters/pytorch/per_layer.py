"""A second embedding of each token, of which every layer adds its part to the stream."""

# B batch, T tokens in this call, N layers, P numbers in a part

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.feedforward import ACTIVATIONS
from litgpt.adapters.pytorch.linear import Embedding, Linear
from litgpt.adapters.pytorch.norms import Normalise
from litgpt.domain.architecture import Layer, LayerEmbeddings, LayerInput


class PerLayerEmbedding(nn.Module):
    """The second embedding, joined with a projection of the first."""

    def __init__(self, width: int, layers: int, how: LayerEmbeddings) -> None:
        super().__init__()
        self.embedding = Embedding(how.vocab_size, layers * how.size)
        self.proj = Linear(width, layers * how.size, bias=False)
        self.norm = Normalise(how.size, how.norm)
        self.size, self.rows, self.shrink = how.size, how.vocab_size, width**-0.5

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

    def __init__(self, width: int, how: LayerInput) -> None:
        super().__init__()
        self.gate = Linear(width, how.size, bias=False)
        self.proj = Linear(how.size, width, bias=False)
        self.norm = Normalise(width, how.norm)
        self.activation = ACTIVATIONS[how.activation]

    def forward(self, x: Tensor, part: Tensor) -> Tensor:
        """Return (B, T, width) for `x` of that shape and its part (B, T, P)."""
        added: Tensor = self.norm(self.proj(self.activation(self.gate(x)) * part))
        return added


def scale_of(layer: Layer) -> nn.Parameter | None:
    """Return the number that multiplies the stream after a layer; None if there is none."""
    return nn.Parameter(torch.empty(1)) if layer.scaled else None
