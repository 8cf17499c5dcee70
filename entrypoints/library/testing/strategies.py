"""A DistributionStrategy whose models are lists of what was read, without torch."""

from collections.abc import Sequence
from typing import Any

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.placement import Hardware, Placement
from litgpt.domain.ports import Checkpoint
from litgpt.domain.reporting import Progress, Report
from litgpt.domain.weights import Join
from litgpt.testing.generators import ScriptedGenerator


@attrs.define
class MemoryModel:
    """What a MemoryStrategy built.

    Attributes:
        placement: Where it is said to be.
        architecture: What was to be built.
        weights: What was read for each parameter.

    """

    placement: Placement
    architecture: Architecture
    weights: dict[str, list[Any]]


@attrs.define
class MemoryStrategy:
    """Says what hardware there is and builds models that say what they are told to say.

    Attributes:
        script: What its models answer.
        there_is: The hardware it claims.

    """

    script: Sequence[int] = (1,)
    there_is: Hardware = attrs.field(factory=Hardware)

    def hardware(self) -> Hardware:
        """Return what it claims."""
        return self.there_is

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        joins: tuple[Join, ...],
        checkpoint: Checkpoint[Any],
        report: Report,
    ) -> MemoryModel:
        """Read each tensor once."""
        weights = {}
        for done, join in enumerate(joins, 1):
            weights[join.parameter.name] = [checkpoint.read(name, placement.dtype) for name in join.theirs]
            report(Progress(f"Loading {checkpoint.name}", done, len(joins)))
        return MemoryModel(placement, architecture, weights)

    def generator(self, model: MemoryModel, placement: Placement) -> ScriptedGenerator:  # noqa: ARG002
        """Return a generator that says the script."""
        return ScriptedGenerator(self.script, context=model.architecture.context)
