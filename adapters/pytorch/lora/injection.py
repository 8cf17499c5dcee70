"""Putting the parts of adapters beside the modules of a network, finding them and taking them away."""

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
"""What the trained tokens of an embedding or a head are called beside it."""


@attrs.frozen(eq=False)
class PairTensors:
    """The tensors of a pair, by the rows of our layers.

    Attributes:
        lora_A: A (R, in), one for all layers.
        lora_B: B (rows, R), by layer.
        biases: (rows,), the biases of B, by layer; empty: there are none.
        magnitudes: The norms that DoRA learns, (rows,), or (in,) of an embedding, by layer; empty: no DoRA.

    """

    lora_A: Tensor
    lora_B: Mapping[str, Tensor]
    biases: Mapping[str, Tensor] = attrs.field(factory=dict)
    magnitudes: Mapping[str, Tensor] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class LoraLayers:
    """The modules of a network, and what is beside them.

    Attributes:
        model: The network.
        active_adapter: Says which adapter is active.

    """

    model: nn.Module
    active_adapter: ActiveAdapter = attrs.field(factory=ActiveAdapter)

    def device(self, layer: str) -> torch.device:
        """Return where a layer is."""
        module = self.model.get_submodule(layer)
        return [*module.parameters(recurse=False), *module.buffers(recurse=False)][0].device

    def add_pair(
        self,
        name: str,
        target: LoraTarget,
        tensors: PairTensors,
        options: LoraOptions,
    ) -> None:
        """Put a pair beside each layer of ours that a tensor of transformers is in.

        Args:
            name: The adapter.
            target: What the pair is for.
            tensors: What it is.
            options: How it is used.

        """
        first: LoraPair | None = None
        for own in target.rows:
            device = self.device(own.layer)
            more = {
                kind: found[own.layer].to(device) if own.layer in found else None
                for kind, found in (("bias", tensors.biases), ("magnitude", tensors.magnitudes))
            }
            pair = LoraPair(
                None if first else tensors.lora_A.to(device),
                tensors.lora_B[own.layer].to(device),
                start=own.start,
                options=options,
                by_column=target.kind == "embedding",
                tied_to=first,
                **more,
            )
            first = first or pair
            self._add_part(name, own.layer, target.leaf, pair)

    def tie_pair(self, name: str, embedding: LoraTarget, head: LoraTarget) -> None:
        """Put the pair of an embedding beside a head that is tied to it."""
        (own,), (other,) = head.rows, embedding.rows
        first = self.pair(name, embedding, other.layer)
        pair = LoraPair(
            None,
            None,
            start=0,
            options=LoraOptions(first.scaling, first.dropout, trainable=False),  # it has nothing of its own
            tied_to=first,
        )
        self._add_part(name, own.layer, head.leaf, pair)

    def add_replacement(
        self, name: str, layer: str, leaf: str, value: Tensor, *, start: int | None, trainable: bool
    ) -> None:
        """Put rows that were trained whole beside the module that has the parameter.

        Args:
            name: The adapter.
            layer: The parameter, such as `lm_head.weight`.
            leaf: What to call the rows.
            value: They.
            start: The first of the parameter's rows; None: they are all of it.
            trainable: Whether they learn.

        """
        module, _, parameter = layer.rpartition(".")
        there = getattr(self.model.get_submodule(module), parameter)
        value = value.to(there.device, torch.float32 if trainable else there.dtype)
        own = ReplacedRows(value, parameter=parameter, start=start, trainable=trainable)
        self._add_part(name, module, leaf, own)

    def tie_replacement(self, name: str, embedding: tuple[str, str], layer: str, leaf: str) -> None:
        """Put an embedding that was trained whole in the place of a head that is tied to it."""
        module, _, parameter = layer.rpartition(".")
        first = self.part(name, *embedding, ReplacedRows)
        own = ReplacedRows(first.current, parameter=parameter, start=None, trainable=False, tied_to=first)
        self._add_part(name, module, leaf, own)

    def add_tokens(self, name: str, layer: str, ids: Sequence[int], rows: Tensor, *, trainable: bool) -> None:
        """Put trained tokens beside an embedding or a head."""
        weight = self.model.get_submodule(layer).get_parameter("weight")
        rows = rows.to(weight.device, torch.float32)
        own = TrainableTokens(ids, rows, size=len(weight), trainable=trainable, device=weight.device)
        self._add_part(name, layer, TRAINABLE_TOKENS, own)

    def tie_tokens(self, name: str, embedding: str, layer: str) -> None:
        """Put the trained tokens of an embedding beside a head that is tied to it."""
        weight = self.model.get_submodule(layer).get_parameter("weight")
        first = self.part(name, embedding, TRAINABLE_TOKENS, TrainableTokens)
        own = TrainableTokens(
            first.ids.tolist(), None, size=len(weight), trainable=False, device=weight.device, tied_to=first
        )
        self._add_part(name, layer, TRAINABLE_TOKENS, own)

    def pair(self, name: str, target: LoraTarget, layer: str) -> LoraPair:
        """Return the pair of an adapter that was put beside a layer."""
        return self.part(name, layer, target.leaf, LoraPair)

    def part(self, name: str, layer: str, leaf: str, kind: type[PartT]) -> PartT:
        """Return a part of an adapter that was put beside a layer."""
        lora = lora_of(self.model.get_submodule(layer))
        assert lora is not None  # noqa: S101 - it was put there
        part = lora[name].get_submodule(leaf)
        assert isinstance(part, kind)  # noqa: S101 - as above
        return part

    def layers(self, name: str) -> dict[str, LoraLayer]:
        """Return what is beside each layer that an adapter is for."""
        found = {layer: lora_of(module) for layer, module in self.model.named_modules()}
        return {layer: lora for layer, lora in found.items() if lora is not None and name in lora}

    def remove(self, name: str) -> None:
        """Take an adapter away from all layers."""
        for layer, lora in self.layers(name).items():
            del lora[name]
            if not lora:
                remove_lora(self.model.get_submodule(layer))

    def _add_part(self, name: str, layer: str, leaf: str, part: AdapterModule) -> None:
        add_to_module(self.model.get_submodule(layer), name, leaf, part, self.active_adapter)
