"""Merge adapters into the weights of a model, and restore the weights."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.module_hook import LoraLayer, ParameterUpdate, apply_updates
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.domain.errors import UnsupportedOperation

_REMEDY = (
    "the weights are quantized, and the update would be rounded away. Load the model without `quantize` and "
    "merge there, or save the adapter with save_adapter()."
)


@attrs.frozen
class MergeBackup:
    """The rows that a merge changed, as they were, on the CPU: indices (None: all) and values."""

    rows: Mapping[str, tuple[tuple[slice | Tensor | None, Tensor], ...]] = attrs.field(
        repr=False, factory=dict
    )
    untied_head: bool = False


@torch.no_grad()
def merge(model: CausalLM, layers: Mapping[str, LoraLayer], name: str, *, backup: bool) -> MergeBackup:
    """Merge an adapter into the weights, in place, and return a backup of the changed rows, if `backup`.

    A tied head is untied if the adapter does not change head and embedding in the same way.

    Raises:
        UnsupportedOperation: A weight is quantized or sharded, or the adapter needs a bias that the layer
            does not have.
    """
    updates = {
        key: changes
        for layer, lora in layers.items()
        for key, changes in _updates_by_parameter(layer, lora, name).items()
    }
    for key in updates:  # raise before anything is changed
        _parameter(model, key, "Merging an adapter")
    untied = unties_head(model, layers, name)
    if untied:
        head = model.get_submodule(model.head_name)
        head.weight = nn.Parameter(model.head_weight.clone(), requires_grad=False)
    elif model.is_tied:
        updates.pop(f"{model.head_name}.weight", None)
    rows = {}
    for key, changes in updates.items():
        value = _parameter(model, key, "Merging an adapter")
        if backup:
            rows[key] = tuple((change.rows, _rows(value, change).cpu().clone()) for change in changes)
        value.copy_(apply_updates(value, changes))
    return MergeBackup(rows, untied)


@torch.no_grad()
def restore_weights(model: CausalLM, backup: MergeBackup) -> None:
    """Write the rows of a backup to the model."""
    for key, entries in backup.rows.items():
        value = _parameter(model, key, "Unmerging an adapter")
        for rows, original in entries:
            value[slice(None) if rows is None else rows] = original.to(value.device)
    if backup.untied_head:
        model.tie_weights()


def unties_head(model: CausalLM, layers: Mapping[str, LoraLayer], name: str) -> bool:
    """Return whether an adapter makes a tied head differ from the embedding."""
    if not model.is_tied:
        return False
    embedding, head = (
        {
            part
            for part in layers[layer].parts_of(name)
            if any(update.parameter == "weight" for update in part.updates())
        }
        if layer in layers
        else set()
        for layer in (model.embedding_name, model.head_name)
    )
    return {part.tied_to for part in head} != embedding


def merged_weights(model: nn.Module) -> dict[str, Callable[[], Tensor]]:
    """Return functions that compute the parameters that the active adapter changes, by name, for saving."""
    merged: dict[str, Callable[[], Tensor]] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and module.active:
            active = module.active_adapter.name
            assert active is not None  # noqa: S101 - the layer has active parts
            for key, changes in _updates_by_parameter(name.removesuffix(".lora"), module, active).items():
                value = _parameter(model, key, "Saving a model with an active adapter")
                merged[key] = partial(torch.no_grad()(apply_updates), value, changes)
    return merged


def _updates_by_parameter(layer: str, lora: LoraLayer, name: str) -> dict[str, list[ParameterUpdate]]:
    updates: dict[str, list[ParameterUpdate]] = {}
    for part in lora.parts_of(name):
        for update in part.updates():
            updates.setdefault(f"{layer}.{update.parameter}", []).append(update)
    return updates


def _rows(value: Tensor, update: ParameterUpdate) -> Tensor:
    return value if update.rows is None else value[update.rows]


def _parameter(model: nn.Module, key: str, purpose: str) -> Tensor:
    layer, _, parameter = key.rpartition(".")
    module = model.get_submodule(layer)
    if isinstance(module, QuantizedLinear) and parameter == "weight":
        raise UnsupportedOperation(purpose, _REMEDY)
    value = getattr(module, parameter)
    if value is None:
        reason = f"the adapter was trained with lora_bias, but {layer} does not have a bias."
        raise UnsupportedOperation(purpose, f"{reason} Save the adapter with save_adapter().")
    if hasattr(value, "full_tensor"):
        raise UnsupportedOperation(purpose, "the weights are sharded. Save the adapter with save_adapter().")
    tensor: Tensor = value
    return tensor
