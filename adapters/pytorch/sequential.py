"""The DistributionStrategy that puts layers on several devices, one after another."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.assemble import fill
from litgpt.adapters.pytorch.generator import TorchGenerator
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.hardware import hardware
from litgpt.adapters.pytorch.weights import ModelWeights
from litgpt.domain.architecture import Architecture
from litgpt.domain.placement import Hardware, Placement
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.quantization import Quantization
from litgpt.domain.reporting import Report
from litgpt.domain.spreading import is_last, spread
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join


def over_devices(
    of_layer: list[torch.device],
    last: torch.device,
    architecture: Architecture,
    joins: tuple[Join, ...],
    checkpoint: Checkpoint[Tensor],
    *,
    dtype: DType,
    report: Report,
    quantize: Quantization | None = None,
) -> GPT:
    """Return a model whose layers are where they are said to be.

    Args:
        of_layer: Each layer's device; the embedding is with the first.
        last: That of the head, if it is not the embedding; the last norm is with the head.
        architecture: What to build.
        joins: What its parameters are read from.
        checkpoint: Where from.
        dtype: What the weights are to be in.
        report: Told of the progress.
        quantize: How to quantise projections.

    """
    first = of_layer[0]
    with torch.device("meta"):
        model = GPT(architecture)
    head = first if architecture.tied else last
    model.layer_devices, model.head_device = of_layer, head

    def home(name: str) -> torch.device:
        parts = name.split(".")
        if parts[:2] == ["transformer", "h"]:
            return of_layer[int(parts[2])]
        return head if is_last(name) else first

    return fill(model, joins, checkpoint, device=home, dtype=dtype, report=report, quantize=quantize)


@attrs.frozen
class Sequential:
    """Layers over devices: each token passes from the first to the last."""

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
        """Build the model and read each tensor once, to the device that has its layer.

        Raises:
            OutOfReach: There are more devices than layers.

        """
        devices = [torch.device(one) for one in placement.devices]
        of_layer = [devices[at] for at in spread(architecture, len(devices))]
        return over_devices(
            of_layer,
            devices[-1],
            architecture,
            joins,
            checkpoint,
            dtype=placement.dtype,
            report=report,
            quantize=placement.quantize,
        )

    def release(self, model: GPT) -> None:
        """Do nothing: the model holds nothing but its memory."""

    def weights(self, model: GPT, joins: Sequence[Join]) -> AbstractContextManager[ModelWeights]:
        """Give what a model's weights are now, to be written."""
        return nullcontext(ModelWeights.of(model, joins))

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        """Return what generates with `model`."""
        return TorchGenerator(model, placement.cache_size)
