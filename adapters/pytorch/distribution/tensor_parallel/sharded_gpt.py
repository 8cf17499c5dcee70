"""The shard of one rank of a tensor-parallel model, driven by rank 0 or by torchrun."""

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import GlooCommunicator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.loss import Reduction, cross_entropy, shift_labels
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture, ParameterSpec


class TensorParallelGPT(GPT):
    """The shard of one rank of a model."""

    has_whole_head = False
    supports_lora = False  # an adapter would have to be sharded as the model is

    def __init__(self, architecture: Architecture, communicator: GlooCommunicator) -> None:
        super().__init__(architecture)
        self.communicator = communicator
        # Under torchrun, the other ranks may be on other machines.
        self.ranks_on_host = int(os.environ.get("LOCAL_WORLD_SIZE", communicator.world_size))

    def require_trainable(self) -> None:
        """Require disabled gradients: the all-reduce over the ranks is not differentiable."""
        if torch.is_grad_enabled():
            reason = (
                "generate_strategy='tensor_parallel' supports inference only. Load the model with "
                "distribute=None, call trainer_setup(), and select a Lightning strategy for several devices. "
                "To compute a loss without gradients, use torch.no_grad()."
            )
            raise UnsupportedOperation("Training a tensor-parallel model", reason)

    @abstractmethod
    def collective_step(self, method: str, *args: Any, **options: Any) -> AbstractContextManager[object]:
        """Return the context in which all ranks run a method of the model with these arguments."""

    @abstractmethod
    def gather_context(
        self, parameters: Sequence[ParameterSpec]
    ) -> AbstractContextManager[Callable[[str], Tensor] | None]:
        """Return the context in which rank 0 gathers full parameters by name; the other ranks get None."""

    def forward(self, *args: Any, **options: Any) -> Tensor:
        """Compute the logits on all ranks; raise WorkerLost if another rank is gone or timed out."""
        with self.collective_step("forward", *args, **options):
            # GPT.forward would call hidden_states of this class, which begins a step of its own.
            logits = self.logits(super().hidden_states(*args, **options))
            self.communicator.synchronize()
            return logits

    def hidden_states(self, *args: Any, **options: Any) -> Tensor:
        with self.collective_step("hidden_states", *args, **options):
            return super().hidden_states(*args, **options)

    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the cross-entropy of the next tokens, without gradients; see `GPT.loss`."""
        self.require_trainable()
        # Every rank gathers all logits, so chunking would not save memory.
        logits: Tensor = self(input_ids)
        return cross_entropy(logits.flatten(0, 1), shift_labels(target_ids).flatten(), reduction)
