"""Putting pairs beside the layers of a network, finding them and taking them away."""

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.pairs import LoraLayer, LowRank, Switch, attach, detach, lora_of
from litgpt.domain.lora_places import Place


@attrs.frozen(eq=False)
class Layers:
    """The linear layers of a network, and what is beside them.

    Attributes:
        model: The network.
        switch: Says which adapter is active.

    """

    model: nn.Module
    switch: Switch = attrs.field(factory=Switch)

    def device(self, layer: str) -> torch.device:
        """Return where a layer is."""
        linear = self.model.get_submodule(layer)
        return [*linear.parameters(recurse=False), *linear.buffers(recurse=False)][0].device

    def put(
        self,
        name: str,
        place: Place,
        a: Tensor,
        bs: Mapping[str, Tensor],
        *,
        scaling: float,
        dropout: float,
        trainable: bool,
    ) -> None:
        """Put a pair beside each layer of ours that a tensor of transformers is in.

        Args:
            name: The adapter.
            place: What the pair is for.
            a: Its A; one for all of these layers.
            bs: Its B, by layer.
            scaling: What is added counts so much.
            dropout: How many of its inputs are left out in training.
            trainable: Whether it learns.

        """
        first: LowRank | None = None
        for own in place.rows:
            linear, device = self.model.get_submodule(own.layer), self.device(own.layer)
            layer = attach(linear, self.switch)
            if name not in layer:
                layer[name] = nn.ModuleDict()
            pair = LowRank(
                None if first else a.to(device),
                bs[own.layer].to(device),
                start=own.start,
                scaling=scaling,
                dropout=dropout,
                trainable=trainable,
                lender=first,
            )
            first = first or pair
            layer[name].add_module(place.leaf, pair.train(linear.training))

    def pair(self, name: str, place: Place, layer: str) -> LowRank:
        """Return the pair of an adapter that was put beside a layer."""
        pair = self._beside(layer)[name].get_submodule(place.leaf)
        assert isinstance(pair, LowRank)  # noqa: S101 - nothing else is put there
        return pair

    def layers(self, name: str) -> dict[str, LoraLayer]:
        """Return what is beside each layer that an adapter is for."""
        found = {layer: lora_of(linear) for layer, linear in self.model.named_modules()}
        return {layer: lora for layer, lora in found.items() if lora is not None and name in lora}

    def remove(self, name: str) -> None:
        """Take an adapter away from all layers."""
        for layer, lora in self.layers(name).items():
            del lora[name]
            if not lora:
                detach(self.model.get_submodule(layer))

    def _beside(self, layer: str) -> LoraLayer:
        lora = lora_of(self.model.get_submodule(layer))
        assert lora is not None  # noqa: S101 - it was put there
        return lora
