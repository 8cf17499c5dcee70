"""Add, find and remove the parts of adapters in the modules of a model."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.layer import LoraOptions, LoraPair
from litgpt.adapters.pytorch.lora.module_hook import (
    ActiveAdapter,
    AdapterModule,
    LoraLayer,
    ReplacedRows,
    add_to_module,
    lora_of,
    remove_lora,
)
from litgpt.adapters.pytorch.lora.trainable_tokens import TrainableTokens
from litgpt.domain.lora.targets import LoraTarget

PartT = TypeVar("PartT", bound=AdapterModule)

TRAINABLE_TOKENS = "trainable_tokens"
"""Name of the trained tokens in the LoRA layer of an embedding or a head."""


@attrs.frozen(eq=False)
class PairTensors:
    """The tensors of a LoRA pair, in the row order of the model's layers.

    Attributes:
        lora_A: (R, in), shared by all layers.
        lora_B: (rows, R), by layer.
        biases: Biases of `lora_B`, (rows,), by layer; empty: no biases.
        magnitudes: DoRA magnitudes, (rows,), or (in,) for an embedding, by layer; empty: no DoRA.
    """

    lora_A: Tensor
    lora_B: Mapping[str, Tensor]
    biases: Mapping[str, Tensor] = attrs.field(factory=dict)
    magnitudes: Mapping[str, Tensor] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class LoraLayers:
    """The LoRA layers of a model, which share its active adapter."""

    model: nn.Module
    active_adapter: ActiveAdapter = attrs.field(factory=ActiveAdapter)

    def device(self, layer: str) -> torch.device:
        module = self.model.get_submodule(layer)
        return [*module.parameters(recurse=False), *module.buffers(recurse=False)][0].device

    def add_pair(
        self,
        name: str,
        target: LoraTarget,
        tensors: PairTensors,
        options: LoraOptions,
    ) -> None:
        """Add a LoRA pair to each layer that contains rows of the target."""
        first: LoraPair | None = None
        for own in target.rows:
            device = self.device(own.layer)
            vectors = {
                kind: by_layer[own.layer].to(device) if own.layer in by_layer else None
                for kind, by_layer in (("bias", tensors.biases), ("magnitude", tensors.magnitudes))
            }
            pair = LoraPair(
                None if first else tensors.lora_A.to(device),
                tensors.lora_B[own.layer].to(device),
                start=own.start,
                options=options,
                by_column=target.kind == "embedding",
                tied_to=first,
                **vectors,
            )
            first = first or pair
            self._add_part(name, own.layer, target.leaf, pair)

    def tie_pair(self, name: str, embedding: LoraTarget, head: LoraTarget) -> None:
        (own,), (other,) = head.rows, embedding.rows
        first = self.pair(name, embedding, other.layer)
        pair = LoraPair(
            None,
            None,
            start=0,
            options=LoraOptions(first.scaling, first.dropout, trainable=False),  # no parameters of its own
            tied_to=first,
        )
        self._add_part(name, own.layer, head.leaf, pair)

    def add_replacement(
        self, name: str, layer: str, leaf: str, value: Tensor, *, start: int | None, trainable: bool
    ) -> None:
        """Add rows that replace rows of a parameter such as `lm_head.weight` (PEFT's modules_to_save).

        `leaf` is their name in the LoRA layer; `start` is the first row, None replaces the whole parameter.
        """
        module, _, parameter = layer.rpartition(".")
        current = getattr(self.model.get_submodule(module), parameter)
        value = value.to(current.device, torch.float32 if trainable else current.dtype)
        own = ReplacedRows(value, parameter=parameter, start=start, trainable=trainable)
        self._add_part(name, module, leaf, own)

    def tie_replacement(self, name: str, embedding: tuple[str, str], layer: str, leaf: str) -> None:
        module, _, parameter = layer.rpartition(".")
        first = self.part(name, *embedding, ReplacedRows)
        own = ReplacedRows(first.current, parameter=parameter, start=None, trainable=False, tied_to=first)
        self._add_part(name, module, leaf, own)

    def add_tokens(self, name: str, layer: str, ids: Sequence[int], rows: Tensor, *, trainable: bool) -> None:
        weight = self.model.get_submodule(layer).get_parameter("weight")
        rows = rows.to(weight.device, torch.float32)
        own = TrainableTokens(ids, rows, size=len(weight), trainable=trainable, device=weight.device)
        self._add_part(name, layer, TRAINABLE_TOKENS, own)

    def tie_tokens(self, name: str, embedding: str, layer: str) -> None:
        weight = self.model.get_submodule(layer).get_parameter("weight")
        first = self.part(name, embedding, TRAINABLE_TOKENS, TrainableTokens)
        own = TrainableTokens(
            first.ids.tolist(), None, size=len(weight), trainable=False, device=weight.device, tied_to=first
        )
        self._add_part(name, layer, TRAINABLE_TOKENS, own)

    def pair(self, name: str, target: LoraTarget, layer: str) -> LoraPair:
        return self.part(name, layer, target.leaf, LoraPair)

    def part(self, name: str, layer: str, leaf: str, kind: type[PartT]) -> PartT:
        lora = lora_of(self.model.get_submodule(layer))
        assert lora is not None  # noqa: S101 - the adapter was added to this layer
        part = lora[name].get_submodule(leaf)
        assert isinstance(part, kind)  # noqa: S101 - as above
        return part

    def layers(self, name: str) -> dict[str, LoraLayer]:
        """Return the LoRA layers that contain an adapter, by the name of the layer."""
        loras = {layer: lora_of(module) for layer, module in self.model.named_modules()}
        return {layer: lora for layer, lora in loras.items() if lora is not None and name in lora}

    def remove(self, name: str) -> None:
        for lora in self.layers(name).values():
            del lora[name]

    def remove_empty(self) -> None:
        """Remove the LoRA layers without an adapter."""
        for module in list(self.model.modules()):
            lora = lora_of(module)
            if lora is not None and not lora:
                remove_lora(module)

    def _add_part(self, name: str, layer: str, leaf: str, part: AdapterModule) -> None:
        add_to_module(self.model.get_submodule(layer), name, leaf, part, self.active_adapter)
