"""A network of which this rank has a part, whoever tells the others what to do."""

import torch
from torch import Tensor

from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.loss import Reduction, cross_entropy, next_tokens
from litgpt.adapters.pytorch.parallel.group import ProcessGroup
from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import OutOfReach


class SplitGPT(GPT):
    """A rank's part of a network.

    Attributes:
        group: The ranks.
        whole: Of what it is a part.

    """

    group: ProcessGroup
    whole: Architecture

    def check_learning(self) -> None:
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
            raise OutOfReach("Training a model that is split over ranks", reason)

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
        self.check_learning()
        # Each rank's head gives all logits, so nothing is saved by taking them a few rows at a time.
        logits: Tensor = self(input_ids)
        return cross_entropy(logits.flatten(0, 1), next_tokens(target_ids).flatten(), reduction)
