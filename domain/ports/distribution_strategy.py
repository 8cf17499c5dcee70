"""The port DistributionStrategy: detect the hardware and build models on it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports.generator import Generator
from litgpt.domain.ports.model_store import Checkpoint, Weights
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource

TensorT = TypeVar("TensorT")
ModelT = TypeVar("ModelT")


class DistributionStrategy(Protocol[TensorT, ModelT]):
    """Detects the hardware, builds models on it and returns their generators."""

    def hardware(self, released_model: ModelT | None = None) -> Hardware:
        """Return the hardware of this machine; the memory of `released_model` counts as free."""
        ...

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[TensorT],
        report: Reporter,
    ) -> ModelT:
        """Build the model and read each tensor once, directly to its device.

        Raises:
            CorruptFile: A tensor could not be read.
            UnsupportedOperation: The device does not have enough memory.
        """
        ...

    def weights(
        self, model: ModelT, sources: Sequence[ParameterSource]
    ) -> AbstractContextManager[Weights[TensorT] | None]:
        """Return a context manager with the model's current weights, for writing.

        If several processes save a model together, one of them writes it; the others get None after it has
        finished.
        """
        ...

    def release(self, model: ModelT) -> None:
        """Release the resources of a model other than its memory, such as worker processes."""
        ...

    def generator(self, model: ModelT, placement: Placement) -> Generator:
        """Return a generator for a model that was built on `placement`; it does not own the model."""
        ...
