"""Adding what was learned to the weights, and taking it away again."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.module_hook import LoraLayer, ParameterUpdate, apply_updates
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.domain.errors import UnsupportedOperation

_REMEDY = (
    "the weights are quantized, and what is added to them would be rounded away. Load the model without "
    "`quantize` and merge there, or save the adapter: save_adapter()."
)


@attrs.frozen
class MergeBackup:
    """Rows as they were before a merge, on the CPU.

    Attributes:
        rows: By parameter, which rows (None: all), and these.
        untied_head: Whether the head was the embedding before.

    """

    rows: Mapping[str, tuple[tuple[slice | Tensor | None, Tensor], ...]] = attrs.field(
        repr=False, factory=dict
    )
    untied_head: bool = False


@torch.no_grad()
def merge(model: GPT, layers: Mapping[str, LoraLayer], name: str, *, backup: bool) -> MergeBackup:
    """Add an adapter to the weights, in place, and return what they were if that is to be kept.

    A head that is the embedding becomes a tensor of its own if the adapter does not change both in the same
    way.

    Args:
        model: The network.
        layers: The layers that it is for.
        name: The adapter.
        backup: Whether to keep the rows.

    Raises:
        OutOfReach: A weight is quantized, or this process has a part of it; or there is no such bias.

    """
    found = {
        key: changes
        for layer, lora in layers.items()
        for key, changes in _updates_by_parameter(layer, lora, name).items()
    }
    for key in found:
        _parameter(model, key, "Merging an adapter")
    untied = unties_head(model, layers, name)
    if untied:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    elif _is_tied(model):
        found.pop(_HEAD, None)
    kept = {}
    for key, changes in found.items():
        value = _parameter(model, key, "Merging an adapter")
        if backup:
            kept[key] = tuple((change.rows, _rows(value, change).cpu().clone()) for change in changes)
        value.copy_(apply_updates(value, changes))
    return MergeBackup(kept, untied)


@torch.no_grad()
def restore_weights(model: GPT, backup: MergeBackup) -> None:
    """Write the rows back that were kept."""
    for key, entries in backup.rows.items():
        value = _parameter(model, key, "Unmerging an adapter")
        for rows, those in entries:
            value[slice(None) if rows is None else rows] = those.to(value.device)
    if backup.untied_head:
        model.tie_weights()


def unties_head(model: GPT, layers: Mapping[str, LoraLayer], name: str) -> bool:
    """Return whether an adapter makes the head of a network, which is its embedding, differ from that."""
    if not _is_tied(model):
        return False
    embedding, head = (
        {
            part
            for part in layers[layer].parts_of(name)
            if any(one.parameter == "weight" for one in part.updates())
        }
        if layer in layers
        else set()
        for layer in (_EMBEDDING, _HEAD.removesuffix(".weight"))
    )
    return {part.tied_to for part in head} != embedding


def merged_weights(model: nn.Module) -> dict[str, Callable[[], Tensor]]:
    """Return what makes each parameter that the active adapter changes, by name, for the model to be saved.

    Raises:
        OutOfReach: Such a weight is quantized, or this process has a part of it; or there is no such bias.

    """
    found: dict[str, Callable[[], Tensor]] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and module.active:
            active = module.active_adapter.name
            assert active is not None  # noqa: S101 - something is active
            for key, changes in _updates_by_parameter(name.removesuffix(".lora"), module, active).items():
                value = _parameter(model, key, "Saving a model with an active adapter")
                found[key] = partial(_apply_updates, value, changes)
    return found


_EMBEDDING, _HEAD = "transformer.wte", "lm_head.weight"


def _is_tied(model: GPT) -> bool:
    return model.lm_head.weight is model.get_submodule(_EMBEDDING).weight


@torch.no_grad()
def _apply_updates(value: Tensor, updates: list[ParameterUpdate]) -> Tensor:
    return apply_updates(value, updates)


def _updates_by_parameter(layer: str, lora: LoraLayer, name: str) -> dict[str, list[ParameterUpdate]]:
    found: dict[str, list[ParameterUpdate]] = {}
    for part in lora.parts_of(name):
        for change in part.updates():
            found.setdefault(f"{layer}.{change.parameter}", []).append(change)
    return found


def _rows(value: Tensor, update: ParameterUpdate) -> Tensor:
    return value if update.rows is None else value[update.rows]


def _parameter(model: nn.Module, key: str, purpose: str) -> Tensor:
    layer, _, parameter = key.rpartition(".")
    module = model.get_submodule(layer)
    if isinstance(module, QuantizedLinear) and parameter == "weight":
        raise UnsupportedOperation(purpose, _REMEDY)
    value = getattr(module, parameter)
    if value is None:
        reason = f"it was trained with lora_bias, and {layer} has no bias that it could be added to."
        raise UnsupportedOperation(purpose, f"{reason} Save the adapter: save_adapter().")
    if hasattr(value, "full_tensor"):
        raise UnsupportedOperation(
            purpose, "each process has a part of the weights. Save the adapter: save_adapter()."
        )
    tensor: Tensor = value
    return tensor
