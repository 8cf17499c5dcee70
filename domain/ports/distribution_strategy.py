"""The ports DistributionStrategy and PlacedModel: build models on the hardware."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports.generator import Generator
from litgpt.domain.ports.model_store import Checkpoint, Weights
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource

TensorT = TypeVar("TensorT")
TensorT_co = TypeVar("TensorT_co", covariant=True)


class PlacedModel(Protocol[TensorT_co]):
    """A model on its devices.

    Attributes:
        network: The module that computes the logits, or its replacement, such as a compiled module.
    """

    network: Any

    @property
    def placement(self) -> Placement: ...

    def generator(self) -> Generator:
        """Return a generator, which does not own the model."""
        ...

    def weights(
        self, sources: Sequence[ParameterSource]
    ) -> AbstractContextManager[Weights[TensorT_co] | None]:
        """Return a context manager with the current weights, for writing.

        If several processes save a model together, one of them writes it; the others get None after it has
        finished.
        """
        ...

    def close(self) -> None:
        """End the worker processes of the model, if there are any; later calls do nothing."""
        ...


class DraftedModel(PlacedModel[TensorT_co], Protocol[TensorT_co]):
    """A model of the native engine, whose texts a draft model may draft.

    Attributes:
        draft: The draft model, which is closed with this one.
    """

    draft: PlacedModel[Any] | None


class DistributionStrategy(Protocol[TensorT]):
    """Detects the hardware and builds models on it."""

    def hardware(self, replaced: PlacedModel[TensorT] | None = None) -> Hardware:
        """Return the hardware of this machine; the memory of `replaced` counts as free."""
        ...

    def check(
        self, placement: Placement, architecture: Architecture, sources: tuple[ParameterSource, ...]
    ) -> None:
        """Check that a model can be built, before anything is released, downloaded or allocated.

        Raises:
            UnsupportedOperation: The model cannot be split, or the engine does not have a part of it.
        """
        ...

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[TensorT],
        report: Reporter,
    ) -> PlacedModel[TensorT]:
        """Build the model and read each tensor once, directly to its device.

        Raises:
            CorruptFile: A tensor could not be read.
            UnsupportedOperation: The device does not have enough memory.
        """
        ...
