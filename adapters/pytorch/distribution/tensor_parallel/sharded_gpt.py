"""The shard of one rank of a tensor-parallel model, driven by rank 0 or by torchrun."""

import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import GlooCommunicator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.loss import Reduction, cross_entropy, shift_labels
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture


class TensorParallelGPT(GPT):
    """The shard of one rank of a model.

    Attributes:
        communicator: The ranks.
        full_architecture: The architecture of the full model.

    """

    communicator: GlooCommunicator
    full_architecture: Architecture

    def require_trainable(self) -> None:
        """Require disabled gradients: the all-reduce over the ranks is not differentiable.

        Raises:
            UnsupportedOperation: Gradients are enabled.

        """
        if torch.is_grad_enabled():
            reason = (
                "generate_strategy='tensor_parallel' supports inference only. Load the model with "
                "distribute=None, call trainer_setup(), and select a Lightning strategy for several devices. "
                "To compute a loss without gradients, use torch.no_grad()."
            )
            raise UnsupportedOperation("Training a tensor-parallel model", reason)

    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of the next tokens, without gradients.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted; -100 is ignored.
            reduction: `mean` or `sum` over the targets.

        Raises:
            UnsupportedOperation: Gradients are enabled.
            InvalidArgument: The reduction is `mean` and no label is a target.

        """
        self.require_trainable()
        # Every rank gathers all logits, so chunking would not save memory.
        logits: Tensor = self(input_ids)
        return cross_entropy(logits.flatten(0, 1), shift_labels(target_ids).flatten(), reduction)
