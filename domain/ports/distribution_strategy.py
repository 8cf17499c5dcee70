"""The port DistributionStrategy: what hardware is here, and build the model on it."""

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
    """Knows the hardware, puts a model on it and says how to generate with it there."""

    def hardware(self, released_model: ModelT | None = None) -> Hardware:
        """Return what this machine has.

        Args:
            released_model: A model that is about to be released: its memory counts as free.

        """
        ...

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[TensorT],
        report: Reporter,
    ) -> ModelT:
        """Build the model and read each tensor once, to where it lives.

        Raises:
            DamagedFile: A tensor could not be read.
            OutOfReach: The device has not the memory.

        """
        ...

    def weights(
        self, model: ModelT, sources: Sequence[ParameterSource]
    ) -> AbstractContextManager[Weights[TensorT] | None]:
        """Give what a model's weights are now, to be written within the context.

        Where several processes save a model together, one of them writes it; the others are given None, once
        it has.

        Args:
            model: One that this strategy built.
            sources: How their tensors are made of ours.

        """
        ...

    def release(self, model: ModelT) -> None:
        """Let go of what a model holds besides its memory, such as the processes that compute parts of it."""
        ...

    def generator(self, model: ModelT, placement: Placement) -> Generator:
        """Return what generates with a model that was built on `placement`. It borrows the model."""
        ...
