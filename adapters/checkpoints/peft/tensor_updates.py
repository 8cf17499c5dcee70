"""What an adapter does to single tensors of a checkpoint, in the layout that files have them in."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import attrs

from litgpt.domain.lora.config import LoraWeights, TrainedTokens

if TYPE_CHECKING:
    import torch

TensorUpdate: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Makes a tensor of a checkpoint, in float32, into another."""


@attrs.frozen
class AddPair:
    """Adds a pair to a matrix."""

    pair: "LoraWeights[torch.Tensor]"
    scaling: float
    transposed: bool

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        """Return the tensor, changed."""
        pair = self.pair
        added = pair.lora_B.float() @ pair.lora_A.float() * self.scaling
        is_turned = self.transposed or pair.embedding
        made = stored + (added.T if is_turned else added)
        if pair.magnitude is None:
            return made
        axis = 0 if is_turned else 1
        factor: torch.Tensor = pair.magnitude.float() / made.norm(dim=axis)
        return made * factor.unsqueeze(axis)


@attrs.frozen
class AddExperts:
    """Adds the pairs of experts to a tensor of all of them, or to some rows of one of them."""

    pair: "LoraWeights[torch.Tensor]"
    scaling: float
    experts: int
    transposed: bool
    expert: int | None = None
    rows: slice = slice(None)

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        """Return the tensor, changed."""
        a = self.pair.lora_A.float().unflatten(0, (self.experts, -1))
        b = self.pair.lora_B.float().unflatten(1, (-1, self.experts)).movedim(-1, 0)
        if self.expert is not None:
            one: torch.Tensor = b[self.expert][self.rows] @ a[self.expert]
            return stored + one * self.scaling
        added: torch.Tensor = b @ a * self.scaling
        return stored + (added.transpose(1, 2) if self.transposed else added)


@attrs.frozen
class AddBias:
    """Adds the bias of B to a bias."""

    bias: "torch.Tensor"
    scaling: float

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        """Return the tensor, changed."""
        return stored + self.bias.float() * self.scaling


@attrs.frozen
class SetRows:
    """Puts the rows of trained tokens in their places."""

    tokens: "TrainedTokens[torch.Tensor]"

    def __call__(self, stored: "torch.Tensor") -> "torch.Tensor":
        """Return the tensor, changed."""
        made = stored.clone()
        made[list(self.tokens.ids)] = self.tokens.rows.float()
        return made
