"""Select the distribution strategy of a placement."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.distribution.single_device import SingleDevice
from litgpt.adapters.pytorch.distribution.tensor_parallel.sharded_gpt import TensorParallelGPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.strategy import TensorParallel
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.adapters.pytorch.runtime.hardware import detect_hardware
from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory
from litgpt.adapters.pytorch.weights.exporter import ModelExporter
from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource

AnyStrategy: TypeAlias = SingleDevice | LayerSplit | TensorParallel


@attrs.frozen
class TorchStrategy:
    """Delegates to the strategy that the placement selects."""

    def hardware(self, released_model: GPT | None = None) -> Hardware:
        return detect_hardware(released_model)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> GPT:
        check_fork()
        with translate_out_of_memory(f"{checkpoint.name} on {', '.join(placement.devices)}"):
            return _strategy_for(placement).build(placement, architecture, sources, checkpoint, report)

    def release(self, model: GPT) -> None:
        _strategy_that_built(model).release(model)

    def weights(
        self, model: GPT, sources: Sequence[ParameterSource]
    ) -> AbstractContextManager[ModelExporter | None]:
        check_fork()
        return _strategy_that_built(model).weights(model, sources)

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        return _strategy_for(placement).generator(model, placement)


def _strategy_for(placement: Placement) -> AnyStrategy:
    match placement.strategy:
        case "tensor_parallel" if len(placement.devices) > 1:
            return TensorParallel()
        case "sequential":
            return LayerSplit()
        case _:
            return SingleDevice()


def _strategy_that_built(model: GPT) -> AnyStrategy:
    return TensorParallel() if isinstance(model, TensorParallelGPT) else SingleDevice()
