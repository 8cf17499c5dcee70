"""Select the distribution strategy of a placement."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.distribution.placed_gpt import PlacedGPT
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.adapters.pytorch.runtime.hardware import detect_hardware
from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory
from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.parallel.tensor_parallel import shard_model
from litgpt.domain.ports import PlacedModel
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource

if TYPE_CHECKING:
    from litgpt.adapters.pytorch.distribution.bridged import TransformersBridge
    from litgpt.adapters.pytorch.distribution.tensor_parallel.strategy import TensorParallel


def _tensor_parallel() -> "TensorParallel":
    from litgpt.adapters.pytorch.distribution.tensor_parallel.strategy import TensorParallel

    return TensorParallel()


@attrs.frozen
class TorchStrategy:
    """Builds each model with the strategy that its placement selects."""

    tensor_parallel: "Callable[[], TensorParallel]" = _tensor_parallel

    def hardware(self, replaced: PlacedModel[Tensor] | None = None) -> Hardware:
        return detect_hardware(None if replaced is None else replaced.network)

    def check(
        self, placement: Placement, architecture: Architecture, sources: tuple[ParameterSource, ...]
    ) -> None:
        if _is_sharded(placement):
            shard_model(architecture, sources, world_size=len(placement.devices), rank=0)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> PlacedGPT:
        check_fork()
        with translate_out_of_memory(f"{checkpoint.name} on {', '.join(placement.devices)}"):
            return self._of(placement).build(placement, architecture, sources, checkpoint, report)

    def _of(self, placement: Placement) -> "LayerSplit | TensorParallel | TransformersBridge":
        if placement.engine == "transformers":
            from litgpt.adapters.pytorch.distribution.bridged import TransformersBridge

            return TransformersBridge()
        return self.tensor_parallel() if _is_sharded(placement) else LayerSplit()


def _is_sharded(placement: Placement) -> bool:
    return placement.strategy == "tensor_parallel" and len(placement.devices) > 1
