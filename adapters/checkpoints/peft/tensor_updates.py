"""The updates that an adapter applies to single tensors, in the checkpoint's layout."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs

from litgpt.domain.lora.config import LoraWeights, TrainedTokens

if TYPE_CHECKING:
    import torch

TensorUpdate: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Maps a checkpoint tensor in float32 to its updated value."""


@attrs.frozen
class AddPair:
    """Add a LoRA pair to a matrix, and rescale it for DoRA."""

    pair: "LoraWeights[torch.Tensor]"
    scaling: float
    transposed: bool

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        pair = self.pair
        delta = pair.lora_B.float() @ pair.lora_A.float() * self.scaling
        transposed = self.transposed or pair.embedding
        merged = stored + (delta.T if transposed else delta)
        if pair.magnitude is None:
            return merged
        axis = 0 if transposed else 1
        factor: torch.Tensor = pair.magnitude.float() / merged.norm(dim=axis)
        return merged * factor.unsqueeze(axis)


@attrs.frozen
class AddExperts:
    """Add the LoRA pairs of experts to a stacked tensor, or to a tensor with some rows of one expert."""

    pair: "LoraWeights[torch.Tensor]"
    scaling: float
    experts: int
    transposed: bool
    expert: int | None = None
    rows: slice = slice(None)

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        a = self.pair.lora_A.float().unflatten(0, (self.experts, -1))
        b = self.pair.lora_B.float().unflatten(1, (-1, self.experts)).movedim(-1, 0)
        if self.expert is not None:
            expert_delta: torch.Tensor = b[self.expert][self.rows] @ a[self.expert]
            return stored + expert_delta * self.scaling
        delta: torch.Tensor = b @ a * self.scaling
        return stored + (delta.transpose(1, 2) if self.transposed else delta)


@attrs.frozen
class AddBias:
    """Add the bias of `lora_B` to a bias."""

    bias: "torch.Tensor"
    scaling: float

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        return stored + self.bias.float() * self.scaling


@attrs.frozen
class SetRows:
    """Replace the embedding rows of trained tokens."""

    tokens: "TrainedTokens[torch.Tensor]"

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        updated = stored.clone()
        updated[list(self.tokens.ids)] = self.tokens.rows.float()
        return updated
