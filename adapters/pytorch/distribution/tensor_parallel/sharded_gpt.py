"""A network of which this rank has a part, whoever tells the others what to do."""

import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import GlooCommunicator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.loss import Reduction, cross_entropy, shift_labels
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture


class TensorParallelGPT(GPT):
    """A rank's part of a network.

    Attributes:
        communicator: The ranks.
        full_architecture: Of what it is a part.

    """

    communicator: GlooCommunicator
    full_architecture: Architecture

    def require_trainable(self) -> None:
        """Refuse: the sums over the ranks have no gradients.

        Raises:
            OutOfReach: Gradients are enabled.

        """
        if torch.is_grad_enabled():
            reason = (
                "generate_strategy='tensor_parallel' is for inference. Load it with distribute=None, call "
                "trainer_setup(), and let a strategy of Lightning's use several devices. To measure a loss "
                "alone, do so within torch.no_grad()."
            )
            raise UnsupportedOperation("Training a model that is split over ranks", reason)

    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of the next tokens, to evaluate a model and not to train it.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted; -100 is not counted.
            reduction: `mean` or `sum` over the targets.

        Raises:
            OutOfReach: Gradients are enabled.
            BadArgument: The mean is wanted and no target counts.

        """
        self.require_trainable()
        # Each rank's head gives all logits, so nothing is saved by taking them a few rows at a time.
        logits: Tensor = self(input_ids)
        return cross_entropy(logits.flatten(0, 1), shift_labels(target_ids).flatten(), reduction)
