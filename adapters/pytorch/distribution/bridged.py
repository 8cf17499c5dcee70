"""Models that transformers computes, on one device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.bridge.exporter import BridgedWeights
from litgpt.adapters.pytorch.bridge.loader import load_bridged
from litgpt.adapters.pytorch.bridge.model import BridgedModel
from litgpt.adapters.pytorch.distribution.placed_gpt import PlacedGPT
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.domain.bridge import BridgedArchitecture
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource

if TYPE_CHECKING:
    from litgpt.adapters.pytorch.model.gpt import GPT


@attrs.define(eq=False)
class PlacedBridge(PlacedGPT):
    """A placed model of transformers."""

    def weights(self, sources: Sequence[ParameterSource]) -> AbstractContextManager[BridgedWeights]:
        """Return the weights as transformers saves them; `sources` is not used."""
        del sources
        check_fork()
        return nullcontext(BridgedWeights(cast("BridgedModel", cast("object", self.network))))


@attrs.frozen
class TransformersBridge:
    """Builds models with transformers."""

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> PlacedBridge:
        del sources  # transformers maps the tensors to its parameters
        assert isinstance(architecture, BridgedArchitecture)  # noqa: S101 - `PlaceModel` sees to it
        network = load_bridged(placement, architecture, checkpoint, report)
        return PlacedBridge(cast("GPT", network), placement)  # what it has in common with one is used
