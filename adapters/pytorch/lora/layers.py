"""Putting the parts of adapters beside the modules of a network, finding them and taking them away."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.layer import LoraLayer, Part, Replacement, Switch, detach, lora_of, put
from litgpt.adapters.pytorch.lora.pairs import LowRank, Use
from litgpt.adapters.pytorch.lora.tokens import TokenRows
from litgpt.domain.lora_places import Place

PartT = TypeVar("PartT", bound=Part)

TOKENS = "trainable_tokens"
"""What the trained tokens of an embedding or a head are called beside it."""


@attrs.frozen(eq=False)
class PairTensors:
    """The tensors of a pair, by the rows of our layers.

    Attributes:
        a: A (R, in), one for all layers.
        bs: B (rows, R), by layer.
        biases: (rows,), the biases of B, by layer; empty: there are none.
        magnitudes: The norms that DoRA learns, (rows,), or (in,) of an embedding, by layer; empty: no DoRA.

    """

    a: Tensor
    bs: Mapping[str, Tensor]
    biases: Mapping[str, Tensor] = attrs.field(factory=dict)
    magnitudes: Mapping[str, Tensor] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class Layers:
    """The modules of a network, and what is beside them.

    Attributes:
        model: The network.
        switch: Says which adapter is active.

    """

    model: nn.Module
    switch: Switch = attrs.field(factory=Switch)

    def device(self, layer: str) -> torch.device:
        """Return where a layer is."""
        module = self.model.get_submodule(layer)
        return [*module.parameters(recurse=False), *module.buffers(recurse=False)][0].device

    def put(
        self,
        name: str,
        place: Place,
        tensors: PairTensors,
        use: Use,
    ) -> None:
        """Put a pair beside each layer of ours that a tensor of transformers is in.

        Args:
            name: The adapter.
            place: What the pair is for.
            tensors: What it is.
            use: How it is used.

        """
        first: LowRank | None = None
        for own in place.rows:
            device = self.device(own.layer)
            more = {
                kind: found[own.layer].to(device) if own.layer in found else None
                for kind, found in (("bias", tensors.biases), ("magnitude", tensors.magnitudes))
            }
            pair = LowRank(
                None if first else tensors.a.to(device),
                tensors.bs[own.layer].to(device),
                start=own.start,
                use=use,
                by_column=place.kind == "embedding",
                lender=first,
                **more,
            )
            first = first or pair
            self._put(name, own.layer, place.leaf, pair)

    def lend(self, name: str, lender: Place, place: Place) -> None:
        """Put the pair of an embedding beside a head that is tied to it."""
        (own,), (other,) = place.rows, lender.rows
        first = self.pair(name, lender, other.layer)
        pair = LowRank(
            None,
            None,
            start=0,
            use=Use(first.scaling, first.dropout, trainable=False),  # it has nothing of its own
            lender=first,
        )
        self._put(name, own.layer, place.leaf, pair)

    def replace(
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
        own = Replacement(value, parameter=parameter, start=start, trainable=trainable)
        self._put(name, module, leaf, own)

    def lend_replacement(self, name: str, lender: tuple[str, str], layer: str, leaf: str) -> None:
        """Put an embedding that was trained whole in the place of a head that is tied to it."""
        module, _, parameter = layer.rpartition(".")
        first = self.part(name, *lender, Replacement)
        own = Replacement(first.current, parameter=parameter, start=None, trainable=False, lender=first)
        self._put(name, module, leaf, own)

    def put_tokens(self, name: str, layer: str, ids: Sequence[int], rows: Tensor, *, trainable: bool) -> None:
        """Put trained tokens beside an embedding or a head."""
        weight = self.model.get_submodule(layer).get_parameter("weight")
        rows = rows.to(weight.device, torch.float32)
        own = TokenRows(ids, rows, size=len(weight), trainable=trainable, device=weight.device)
        self._put(name, layer, TOKENS, own)

    def lend_tokens(self, name: str, lender: str, layer: str) -> None:
        """Put the trained tokens of an embedding beside a head that is tied to it."""
        weight = self.model.get_submodule(layer).get_parameter("weight")
        first = self.part(name, lender, TOKENS, TokenRows)
        own = TokenRows(
            first.ids.tolist(), None, size=len(weight), trainable=False, device=weight.device, lender=first
        )
        self._put(name, layer, TOKENS, own)

    def pair(self, name: str, place: Place, layer: str) -> LowRank:
        """Return the pair of an adapter that was put beside a layer."""
        return self.part(name, layer, place.leaf, LowRank)

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
                detach(self.model.get_submodule(layer))

    def _put(self, name: str, layer: str, leaf: str, part: Part) -> None:
        put(self.model.get_submodule(layer), name, leaf, part, self.switch)
