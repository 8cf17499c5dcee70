"""The adapters of a network: added, made active, merged and taken away."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.lora.attached import Attached, captured, fitted, put
from litgpt.adapters.pytorch.lora.creating import initial
from litgpt.adapters.pytorch.lora.layers import Layers
from litgpt.adapters.pytorch.lora.merging import Kept, merge, restore, unties
from litgpt.adapters.pytorch.lora.sites import Sites
from litgpt.adapters.pytorch.parallel.driven import DrivenGPT
from litgpt.adapters.pytorch.parallel.given import GivenGPT
from litgpt.domain.errors import BadArgument, OutOfReach
from litgpt.domain.lora import Adapter, Lora, adapter_name, known_adapter
from litgpt.domain.weights import Join


@attrs.define(eq=False)
class Adapters:
    """The adapters of one network.

    Attributes:
        model: The network.

    """

    model: GPT
    _sites: Sites = attrs.field(repr=False)
    _network: Layers = attrs.field(repr=False)
    _attached: dict[str, Attached] = attrs.field(factory=dict)
    _merged: tuple[str, Kept] | None = None
    _base: Attached | None = None  # what was merged last for good

    @classmethod
    def of(cls, model: GPT, joins: Sequence[Join], model_type: str) -> "Adapters":
        """Return those of a network, which has none yet.

        Args:
            model: The network.
            joins: How transformers writes its tensors, the head among them also where it is the embedding.
            model_type: The family.

        Raises:
            OutOfReach: It is computed by several processes.

        """
        if isinstance(model, (DrivenGPT, GivenGPT)):
            raise OutOfReach("LoRA on a tensor-parallel model", "place it on one device, or 'sequential'ly.")
        return cls(model, Sites.of(model, joins, model_type), Layers(model))

    @property
    def unties(self) -> bool:
        """Whether the head, which was the embedding, differs from that now."""
        if not self.model.architecture.tied:
            return False
        active = self._network.switch.active
        return not self._sites.tied or (
            active is not None and unties(self.model, self._network.layers(active), active)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(self._attached)

    @property
    def active(self) -> str | None:
        """The active one, merged or not."""
        return self._merged[0] if self._merged is not None else self._network.switch.active

    @torch.inference_mode(False)
    def add(self, name: str, lora: Lora) -> None:
        """Add an adapter that changes nothing yet, to be trained. It is active then, and nothing else learns.

        Raises:
            BadArgument: The name, or a target, cannot be right.
            OutOfReach: Another adapter is merged.

        """
        self._check_new(name)
        self._put(name, initial(self._sites, lora), trainable=True)

    @torch.inference_mode(False)
    def load(self, name: str, adapter: Adapter[Tensor], *, trainable: bool) -> None:
        """Add an adapter that was saved, and make it active.

        Args:
            name: What to call it.
            adapter: What was saved.
            trainable: Whether it is to learn on; nothing else learns then.

        Raises:
            BadArgument: The name cannot be right.
            BadCheckpoint: It is for another model; the error lists all that does not fit.
            OutOfReach: Another adapter is merged.

        """
        self._check_new(name)
        self._put(name, adapter, trainable=trainable)

    def captured(self, name: str) -> Adapter[Tensor]:
        """Return an adapter as it is now, to be saved; in float32, on the CPU.

        Where each process has a part of the weights, all of them have to call it.

        Raises:
            BadArgument: There is none of this name.

        """
        known_adapter(name, self.names)
        return captured(self._network, self._sites, name, self._attached[name])

    def activate(self, name: str | None) -> None:
        """Make an adapter the active one, or none. Nothing is copied.

        Raises:
            BadArgument: There is none of this name.
            OutOfReach: One is merged.

        """
        self._check_unmerged("Setting an adapter")
        if name is not None:
            known_adapter(name, self.names)
        self._network.switch.active = name
        self.model.adapter = self._base if name is None else self._attached[name]

    def merge(self, *, for_good: bool) -> None:
        """Add the active adapter to the weights, so that it takes no time of its own.

        Args:
            for_good: Whether it is not to be undone: nothing is kept, and the adapter goes. Otherwise the
                rows that are changed are kept on the CPU, so that they can be brought back to the bit.

        Raises:
            OutOfReach: None is active, one is merged already, or the weights are quantised.

        """
        self._check_unmerged("Merging an adapter")
        name = self._network.switch.active
        if name is None:
            raise OutOfReach("Merging", "no adapter is active; set_adapter() says which one is to be.")
        kept = merge(self.model, self._network.layers(name), name, keep=not for_good)
        self._network.switch.active = None
        self._merged = (name, kept)
        if for_good:
            self._merged, self._base = None, self._attached[name]
            self._remove(name)

    def unmerge(self) -> None:
        """Bring the weights back that were before, to the bit; the adapter is active as it was.

        Raises:
            OutOfReach: None is merged.

        """
        if self._merged is None:
            raise OutOfReach("Unmerging", "no adapter is merged, or one is for good.")
        name, kept = self._merged
        restore(self.model, kept)
        self._merged = None
        self._network.switch.active = name

    def delete(self, name: str) -> None:
        """Take an adapter away. If it is the active one, none is then.

        Raises:
            BadArgument: There is none of this name.
            OutOfReach: It is merged.

        """
        known_adapter(name, self.names)
        if self._merged is not None and self._merged[0] == name:
            self._check_unmerged(f"Deleting the adapter {name!r}")
        if self._network.switch.active == name:
            self.activate(None)
        self._remove(name)

    def _put(self, name: str, adapter: Adapter[Tensor], *, trainable: bool) -> None:
        found = fitted(self._sites, name, adapter)
        if trainable:
            self._freeze()
        self._attached[name] = put(self._network, self._sites, name, adapter, found, trainable=trainable)
        self.activate(name)

    def _remove(self, name: str) -> None:
        self._network.remove(name)
        del self._attached[name]

    def _freeze(self) -> None:
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)

    def _check_new(self, name: str) -> None:
        self._check_unmerged("Adding an adapter")
        if hasattr(self.model.lm_head.weight, "full_tensor"):
            reason = "each process has a part of the weights by now. Add it first, then shard()."
            raise OutOfReach("Adding an adapter", reason)
        if adapter_name(name) in self._attached:
            raise BadArgument("name", name, "one that no adapter has yet; delete_adapter() makes it free")
        if hasattr(nn.ModuleDict(), name):
            raise BadArgument("name", name, "another: torch's modules have an attribute of this one")

    def _check_unmerged(self, what: str) -> None:
        if self._merged is not None:
            raise OutOfReach(what, f"{self._merged[0]!r} is merged. Call unmerge_adapter() first.")
