"""The adapters of a network: added, made active, merged and taken away."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.distribution.tensor_parallel.rank0 import Rank0GPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.torchrun import TorchrunGPT
from litgpt.adapters.pytorch.lora.attach import (
    AttachedAdapter,
    attach_adapter,
    export_adapter,
    match_to_model,
)
from litgpt.adapters.pytorch.lora.initialization import init_adapter
from litgpt.adapters.pytorch.lora.injection import LoraLayers
from litgpt.adapters.pytorch.lora.merge import MergeBackup, merge, restore_weights, unties_head
from litgpt.adapters.pytorch.lora.model_targets import ModelTargets
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, require_adapter, validate_adapter_name
from litgpt.domain.weights.mapping import ParameterSource


@attrs.define(eq=False)
class ModelAdapters:
    """The adapters of one network.

    Attributes:
        model: The network.

    """

    model: GPT
    _targets: ModelTargets = attrs.field(repr=False)
    _layers: LoraLayers = attrs.field(repr=False)
    _attached: dict[str, AttachedAdapter] = attrs.field(factory=dict)
    _merged: tuple[str, MergeBackup] | None = None
    _base: AttachedAdapter | None = None  # what was merged last for good

    @classmethod
    def from_model(cls, model: GPT, sources: Sequence[ParameterSource], model_type: str) -> "ModelAdapters":
        """Return those of a network, which has none yet.

        Args:
            model: The network.
            sources: How transformers writes its tensors, the head among them also where it is the embedding.
            model_type: The family.

        Raises:
            OutOfReach: It is computed by several processes.

        """
        if isinstance(model, (Rank0GPT, TorchrunGPT)):
            raise UnsupportedOperation(
                "LoRA on a tensor-parallel model", "place it on one device, or 'sequential'ly."
            )
        return cls(model, ModelTargets.from_model(model, sources, model_type), LoraLayers(model))

    @property
    def unties_head(self) -> bool:
        """Whether the head, which was the embedding, differs from that now."""
        if not self.model.architecture.tie_word_embeddings:
            return False
        active = self._layers.active_adapter.name
        return not self._targets.is_tied or (
            active is not None and unties_head(self.model, self._layers.layers(active), active)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(self._attached)

    @property
    def active(self) -> str | None:
        """The active one, merged or not."""
        return self._merged[0] if self._merged is not None else self._layers.active_adapter.name

    @torch.inference_mode(False)
    def add(self, name: str, config: LoraConfig) -> None:
        """Add an adapter that changes nothing yet, to be trained. It is active then, and nothing else learns.

        Raises:
            BadArgument: The name, or a target, cannot be right.
            OutOfReach: Another adapter is merged.

        """
        self._check_new(name)
        self._attach(name, init_adapter(self._targets, config), trainable=True)

    @torch.inference_mode(False)
    def load(self, name: str, adapter: LoraAdapter[Tensor], *, trainable: bool) -> None:
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
        self._attach(name, adapter, trainable=trainable)

    def export(self, name: str) -> LoraAdapter[Tensor]:
        """Return an adapter as it is now, to be saved; in float32, on the CPU.

        Where each process has a part of the weights, all of them have to call it.

        Raises:
            BadArgument: There is none of this name.

        """
        require_adapter(name, self.names)
        return export_adapter(self._layers, self._targets, name, self._attached[name])

    def activate(self, name: str | None) -> None:
        """Make an adapter the active one, or none. Nothing is copied.

        Raises:
            BadArgument: There is none of this name.
            OutOfReach: One is merged.

        """
        self._check_unmerged("Setting an adapter")
        if name is not None:
            require_adapter(name, self.names)
        self._layers.active_adapter.name = name
        self.model.adapter = self._base if name is None else self._attached[name]

    def merge(self, *, permanent: bool) -> None:
        """Add the active adapter to the weights, so that it takes no time of its own.

        Args:
            permanent: Whether it is not to be undone: nothing is kept, and the adapter goes. Otherwise the
                rows that are changed are kept on the CPU, so that they can be brought back to the bit.

        Raises:
            OutOfReach: None is active, one is merged already, or the weights are quantized.

        """
        self._check_unmerged("Merging an adapter")
        name = self._layers.active_adapter.name
        if name is None:
            raise UnsupportedOperation(
                "Merging", "no adapter is active; set_adapter() says which one is to be."
            )
        kept = merge(self.model, self._layers.layers(name), name, backup=not permanent)
        self._layers.active_adapter.name = None
        self._merged = (name, kept)
        if permanent:
            self._merged, self._base = None, self._attached[name]
            self._remove(name)

    def unmerge(self) -> None:
        """Bring the weights back that were before, to the bit; the adapter is active as it was.

        Raises:
            OutOfReach: None is merged.

        """
        if self._merged is None:
            raise UnsupportedOperation("Unmerging", "no adapter is merged, or one is for good.")
        name, kept = self._merged
        restore_weights(self.model, kept)
        self._merged = None
        self._layers.active_adapter.name = name

    def delete(self, name: str) -> None:
        """Take an adapter away. If it is the active one, none is then.

        Raises:
            BadArgument: There is none of this name.
            OutOfReach: It is merged.

        """
        require_adapter(name, self.names)
        if self._merged is not None and self._merged[0] == name:
            self._check_unmerged(f"Deleting the adapter {name!r}")
        if self._layers.active_adapter.name == name:
            self.activate(None)
        self._remove(name)

    def _attach(self, name: str, adapter: LoraAdapter[Tensor], *, trainable: bool) -> None:
        found = match_to_model(self._targets, name, adapter)
        if trainable:
            self._freeze()
        self._attached[name] = attach_adapter(
            self._layers, self._targets, name, adapter, found, trainable=trainable
        )
        self.activate(name)

    def _remove(self, name: str) -> None:
        self._layers.remove(name)
        del self._attached[name]

    def _freeze(self) -> None:
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)

    def _check_new(self, name: str) -> None:
        self._check_unmerged("Adding an adapter")
        if hasattr(self.model.lm_head.weight, "full_tensor"):
            reason = "each process has a part of the weights by now. Add it first, then shard()."
            raise UnsupportedOperation("Adding an adapter", reason)
        if validate_adapter_name(name) in self._attached:
            raise InvalidArgument("name", name, "one that no adapter has yet; delete_adapter() makes it free")
        if hasattr(nn.ModuleDict(), name):
            raise InvalidArgument("name", name, "another: torch's modules have an attribute of this one")

    def _check_unmerged(self, operation: str) -> None:
        if self._merged is not None:
            raise UnsupportedOperation(
                operation, f"{self._merged[0]!r} is merged. Call unmerge_adapter() first."
            )
