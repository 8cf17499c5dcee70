"""Add, activate, merge and delete the adapters of a model."""

import weakref
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

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
from litgpt.adapters.pytorch.lora.module_hook import RequestAdapter
from litgpt.adapters.pytorch.lora.weight_changes import weight_changes
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.ops.tensor_versions import version
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.lora.config import (
    LoraAdapter,
    LoraConfig,
    require_adapter,
    unknown_adapter,
    validate_adapter_name,
)
from litgpt.domain.lora.weight_changes import WeightChanges
from litgpt.domain.weights.mapping import ParameterSource


@attrs.define(eq=False)
class ModelAdapters:
    """The adapters of one model."""

    model: CausalLM
    _targets: ModelTargets = attrs.field(repr=False)
    _layers: LoraLayers = attrs.field(repr=False)
    _attached: dict[str, AttachedAdapter] = attrs.field(factory=dict)
    _merged: tuple[str, MergeBackup] | None = None
    _base: AttachedAdapter | None = None  # the last adapter that was merged permanently
    _changes: dict[str, tuple[object, WeightChanges[Any]]] = attrs.field(factory=dict)
    # Adapters that were deleted, as long as requests are computed with them.
    _deleted: "weakref.WeakSet[RequestAdapter]" = attrs.field(factory=weakref.WeakSet, repr=False)

    @classmethod
    def from_model(
        cls, model: CausalLM, sources: Sequence[ParameterSource], model_type: str
    ) -> "ModelAdapters":
        """Return the adapters of a model without any; `sources` includes the head even if it is tied."""
        if not model.supports_lora:
            raise UnsupportedOperation(
                "LoRA on a tensor-parallel model", "place it on one device, or use the strategy 'sequential'."
            )
        return cls(model, ModelTargets.from_model(model, sources, model_type), LoraLayers(model))

    @property
    def unties_head(self) -> bool:
        """Whether a tied head currently differs from the embedding."""
        return self._unties_head(self._layers.active_adapter.name)

    def _unties_head(self, name: str | None) -> bool:
        if not self.model.architecture.tie_word_embeddings:
            return False
        return not self._targets.is_tied or (
            name is not None and unties_head(self.model, self.model.adapters[name].layers, name)
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._attached)

    @property
    def active(self) -> str | None:
        """The name of the active adapter, merged or not."""
        return self._merged[0] if self._merged is not None else self._layers.active_adapter.name

    def weight_changes(self) -> WeightChanges[Any] | None:
        """Return the changes of the active adapter as numpy arrays; None: no adapter is active.

        The result is the same object until the tensors of the adapter change.
        """
        name = self._layers.active_adapter.name
        return None if name is None else self.changes_of(name)

    def changes_of(self, name: str) -> WeightChanges[Any]:
        """Return the changes of an adapter, active or not, as `weight_changes` does.

        Raises:
            InvalidArgument: No adapter has this name.
        """
        adapter: RequestAdapter | None = self.model.adapters.get(name)
        if adapter is None:
            raise unknown_adapter(name, self.names, "adapter")
        tensors = (tensor for parts in adapter.parts.values() for it in parts for tensor in it.parameters())
        key = adapter.key, *map(version, tensors)
        known = self._changes.get(name)
        if known is None or known[0] != key:
            changes = weight_changes(self.model, adapter, unties_head=self._unties_head(name))
            known = self._changes[name] = key, changes
        return known[1]

    def moved_to(self, model: CausalLM) -> "ModelAdapters":
        """Return copies of the adapters, attached to another network of the model and not trainable."""
        moved = ModelAdapters(model, attrs.evolve(self._targets, model=model), LoraLayers(model))
        for name in self.names:
            moved.load(name, self.export(name), trainable=False)
        moved.activate(self.active)
        return moved

    @torch.inference_mode(False)
    def add(self, name: str, config: LoraConfig) -> None:
        """Add a new adapter for training and activate it; all other parameters are frozen.

        Raises:
            InvalidArgument: The name or a target is not valid.
            UnsupportedOperation: Another adapter is merged.
        """
        self._check_new(name)
        self._attach(name, init_adapter(self._targets, config), trainable=True)

    @torch.inference_mode(False)
    def load(self, name: str, adapter: LoraAdapter[Tensor], *, trainable: bool) -> None:
        """Add a saved adapter and activate it; if it is `trainable`, all other parameters are frozen.

        Raises:
            InvalidArgument: The name is not valid.
            InvalidCheckpoint: The adapter is for another model; the message lists all mismatches.
            UnsupportedOperation: Another adapter is merged.
        """
        self._check_new(name)
        self._attach(name, adapter, trainable=trainable)

    def export(self, name: str) -> LoraAdapter[Tensor]:
        """Return the current tensors of an adapter, in float32 on the CPU.

        With sharded weights, all ranks must call this.
        """
        require_adapter(name, self.names)
        return export_adapter(self._layers, self._targets, name, self._attached[name])

    def activate(self, name: str | None) -> None:
        """Set the active adapter; None: no adapter is active. No tensors are copied.

        Raises:
            InvalidArgument: No adapter has this name.
            UnsupportedOperation: An adapter is merged.
        """
        self._check_unmerged("Setting an adapter")
        if name is not None:
            require_adapter(name, self.names)
        self._layers.active_adapter.name = name
        self.model.adapter = self._base if name is None else self._attached[name]

    def merge(self, *, permanent: bool) -> None:
        """Merge the active adapter into the weights, so that it adds no inference time.

        A `permanent` merge deletes the adapter. Otherwise the changed rows are copied to the CPU, from which
        `unmerge` restores them exactly.

        Raises:
            UnsupportedOperation: No adapter is active, one is already merged, or the weights are quantized.
        """
        self._check_unmerged("Merging an adapter")
        name = self._layers.active_adapter.name
        if name is None:
            raise UnsupportedOperation("Merging", "no adapter is active. Activate one with set_adapter().")
        backup = merge(self.model, self._layers.layers(name), name, backup=not permanent)
        self._layers.active_adapter.name = None
        self._merged = (name, backup)
        self._layers.active_adapter.merged = name
        if permanent:
            self._merged, self._base = None, self._attached[name]
            self._layers.active_adapter.merged = None
            self._remove(name)

    def unmerge(self) -> None:
        """Restore the weights bit for bit and activate the adapter again."""
        if self._merged is None:
            raise UnsupportedOperation("Unmerging", "no adapter is merged, or it was merged permanently.")
        name, backup = self._merged
        restore_weights(self.model, backup)
        self._merged = self._layers.active_adapter.merged = None
        self._layers.active_adapter.name = name

    def delete(self, name: str) -> None:
        """Delete an adapter. If it was active, no adapter is active afterwards.

        Raises:
            InvalidArgument: No adapter has this name.
            UnsupportedOperation: The adapter is merged.
        """
        require_adapter(name, self.names)
        if self._merged is not None and self._merged[0] == name:
            self._check_unmerged(f"Deleting the adapter {name!r}")
        if self._layers.active_adapter.name == name:
            self.activate(None)
        self._remove(name)

    def _attach(self, name: str, adapter: LoraAdapter[Tensor], *, trainable: bool) -> None:
        self._remove_unused_layers()
        matched = match_to_model(self._targets, name, adapter)
        if trainable:
            self.model.requires_grad_(False)
        self._attached[name] = attach_adapter(
            self._layers, self._targets, name, adapter, matched, trainable=trainable
        )
        self.model.adapters[name] = RequestAdapter(
            name, self._layers.active_adapter, self._layers.layers(name)
        )
        self.activate(name)

    def _remove(self, name: str) -> None:
        self._deleted.add(self.model.adapters.pop(name))  # which frees it unless a request uses it
        self._layers.remove(name)
        self._remove_unused_layers()
        self._changes.pop(name, None)
        del self._attached[name]

    def _remove_unused_layers(self) -> None:
        if not self._deleted:  # a hook of an empty layer may still compute a deleted adapter
            self._layers.remove_empty()

    def _check_new(self, name: str) -> None:
        self._check_unmerged("Adding an adapter")
        if hasattr(self.model.head_weight, "full_tensor"):
            reason = "the weights are already sharded. Add the adapter before calling shard()."
            raise UnsupportedOperation("Adding an adapter", reason)
        if validate_adapter_name(name) in self._attached:
            raise InvalidArgument("name", name, "a new adapter name (delete_adapter() removes an adapter)")
        if hasattr(nn.ModuleDict(), name):
            raise InvalidArgument("name", name, "a name that is not an attribute of torch.nn.ModuleDict")

    def _check_unmerged(self, operation: str) -> None:
        if self._merged is not None:
            raise UnsupportedOperation(
                operation, f"{self._merged[0]!r} is merged. Call unmerge_adapter() first."
            )
