"""The DistributionStrategy that does what a placement says, through the one that knows how."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.allocating import allocating
from litgpt.adapters.pytorch.forking import check_fork
from litgpt.adapters.pytorch.generator import TorchGenerator
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.hardware import hardware
from litgpt.adapters.pytorch.parallel.split import SplitGPT
from litgpt.adapters.pytorch.sequential import Sequential
from litgpt.adapters.pytorch.single_device import SingleDevice
from litgpt.adapters.pytorch.tensor_parallel import TensorParallel
from litgpt.adapters.pytorch.weights import ModelWeights
from litgpt.domain.architecture import Architecture
from litgpt.domain.placement import Hardware, Placement
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.reporting import Report
from litgpt.domain.weights import Join

AnyStrategy: TypeAlias = SingleDevice | Sequential | TensorParallel


@attrs.frozen
class TorchStrategy:
    """One device, or several in one way or the other."""

    def hardware(self, replaced: GPT | None = None) -> Hardware:
        """Return what this machine has, the memory of a model that is about to be released included."""
        return hardware(replaced)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        joins: tuple[Join, ...],
        checkpoint: Checkpoint[Tensor],
        report: Report,
    ) -> GPT:
        """Build the model where the placement says, in the way it says."""
        check_fork()
        with allocating(f"{checkpoint.name} on {', '.join(placement.devices)}"):
            return _of(placement).build(placement, architecture, joins, checkpoint, report)

    def release(self, model: GPT) -> None:
        """End the processes that compute parts of a model, if there are any."""
        _that_built(model).release(model)

    def weights(self, model: GPT, joins: Sequence[Join]) -> AbstractContextManager[ModelWeights | None]:
        """Give what a model's weights are now, to be written; None where another process writes them."""
        check_fork()
        return _that_built(model).weights(model, joins)

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        """Return what generates with `model`."""
        return _of(placement).generator(model, placement)


def _of(placement: Placement) -> AnyStrategy:
    match placement.strategy:
        case "tensor_parallel" if len(placement.devices) > 1:
            return TensorParallel()
        case "sequential":
            return Sequential()
        case _:
            return SingleDevice()


def _that_built(model: GPT) -> AnyStrategy:
    return TensorParallel() if isinstance(model, SplitGPT) else SingleDevice()
