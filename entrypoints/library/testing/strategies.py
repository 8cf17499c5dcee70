"""A fake DistributionStrategy whose models hold the tensors that were read, without torch."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

import attrs

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports import Checkpoint, PlacedModel
from litgpt.domain.progress import Progress, Reporter
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import TensorInfo
from litgpt.testing.generators import ScriptedGenerator


@attrs.frozen
class MemoryWeights:
    """The weights of a MemoryModel, as they were read."""

    values: Mapping[str, Sequence[Any]]
    sources: tuple[ParameterSource, ...]

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        pieces = (piece for join in self.sources for piece in join.views)
        return {piece.name: TensorInfo(piece.shape, "F32", 4 * prod(piece.shape)) for piece in pieces}

    @property
    def quantization(self) -> None:
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def read(self, name: str) -> Any:
        for join in self.sources:
            for at, piece in enumerate(join.views):
                if piece.name == name:
                    return self.values[join.parameter.name][at]
        raise KeyError(name)


@attrs.define(eq=False)
class MemoryModel:
    """A model of MemoryStrategy, with the tensors that were read for each parameter."""

    placement: Placement
    architecture: Architecture
    tensors: dict[str, list[Any]]
    script: Sequence[int] = (1,)
    closed: bool = False
    network: Any = attrs.field(default=attrs.Factory(lambda self: self, takes_self=True), repr=False)

    def generator(self) -> ScriptedGenerator:
        return ScriptedGenerator(self.script, context=self.architecture.context_length)

    def weights(self, sources: Sequence[ParameterSource]) -> AbstractContextManager[MemoryWeights]:
        return nullcontext(MemoryWeights(self.tensors, tuple(sources)))

    def close(self) -> None:
        self.closed = True


@attrs.define
class MemoryStrategy:
    """Reports fixed hardware and builds models whose answer is `script`, as token ids."""

    script: Sequence[int] = (1,)
    there_is: Hardware = attrs.field(factory=Hardware)

    def hardware(self, replaced: PlacedModel[Any] | None = None) -> Hardware:  # noqa: ARG002 - uses no memory
        return self.there_is

    def check(
        self, placement: Placement, architecture: Architecture, sources: tuple[ParameterSource, ...]
    ) -> None:
        """Do nothing: every model can be built."""

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Any],
        report: Reporter,
    ) -> MemoryModel:
        tensors = {}
        for done, join in enumerate(sources, 1):
            tensors[join.parameter.name] = [checkpoint.read(name, placement.dtype) for name in join.hf_names]
            report(Progress(f"Loading {checkpoint.name}", done, len(sources)))
        return MemoryModel(placement, architecture, tensors, self.script)
