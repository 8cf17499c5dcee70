"""The port DistributionStrategy: what hardware is here, and build the model on it."""

from typing import Protocol, TypeVar

from litgpt.domain.architecture import Architecture
from litgpt.domain.placement import Hardware, Placement
from litgpt.domain.ports.generator import Generator
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.reporting import Report
from litgpt.domain.weights import Join

TensorT_contra = TypeVar("TensorT_contra", contravariant=True)
ModelT = TypeVar("ModelT")


class DistributionStrategy(Protocol[TensorT_contra, ModelT]):
    """Knows the hardware, puts a model on it and says how to generate with it there."""

    def hardware(self) -> Hardware:
        """Return what this machine has."""
        ...

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        joins: tuple[Join, ...],
        checkpoint: Checkpoint[TensorT_contra],
        report: Report,
    ) -> ModelT:
        """Build the model and read each tensor once, to where it lives.

        Raises:
            DamagedFile: A tensor could not be read.
            OutOfReach: The device has not the memory.

        """
        ...

    def generator(self, model: ModelT, placement: Placement) -> Generator:
        """Return what generates with a model that was built on `placement`. It borrows the model."""
        ...
