"""Adding what was learnt to the weights, and taking it away again."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.lora.layer import Change, LoraLayer, applied
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.domain.errors import OutOfReach

_REMEDY = (
    "the weights are quantised, and what is added to them would be rounded away. Load the model without "
    "`quantize` and merge there, or save the adapter: save_adapter()."
)


@attrs.frozen
class Kept:
    """Rows as they were before a merge, on the CPU.

    Attributes:
        rows: By parameter, which rows (None: all), and these.
        untied: Whether the head was the embedding before.

    """

    rows: Mapping[str, tuple[tuple[slice | Tensor | None, Tensor], ...]] = attrs.field(
        repr=False, factory=dict
    )
    untied: bool = False


@torch.no_grad()
def merge(model: GPT, layers: Mapping[str, LoraLayer], name: str, *, keep: bool) -> Kept:
    """Add an adapter to the weights, in place, and return what they were if that is to be kept.

    A head that is the embedding becomes a tensor of its own if the adapter does not change both in the same
    way.

    Args:
        model: The network.
        layers: The layers that it is for.
        name: The adapter.
        keep: Whether to keep the rows.

    Raises:
        OutOfReach: A weight is quantised, or this process has a part of it; or there is no such bias.

    """
    found = {
        key: changes
        for layer, lora in layers.items()
        for key, changes in _by_parameter(layer, lora, name).items()
    }
    for key in found:
        _parameter(model, key, "Merging an adapter")
    untied = unties(model, layers, name)
    if untied:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    elif _is_tied(model):
        found.pop(_HEAD, None)
    kept = {}
    for key, changes in found.items():
        value = _parameter(model, key, "Merging an adapter")
        if keep:
            kept[key] = tuple((change.rows, _rows(value, change).cpu().clone()) for change in changes)
        value.copy_(applied(value, changes))
    return Kept(kept, untied)


@torch.no_grad()
def restore(model: GPT, kept: Kept) -> None:
    """Write the rows back that were kept."""
    for key, entries in kept.rows.items():
        value = _parameter(model, key, "Unmerging an adapter")
        for rows, those in entries:
            value[slice(None) if rows is None else rows] = those.to(value.device)
    if kept.untied:
        model.tie_weights()


def unties(model: GPT, layers: Mapping[str, LoraLayer], name: str) -> bool:
    """Return whether an adapter makes the head of a network, which is its embedding, differ from that."""
    if not _is_tied(model):
        return False
    embedding, head = (
        {part for part in layers[layer].of(name) if any(one.parameter == "weight" for one in part.changes())}
        if layer in layers
        else set()
        for layer in (_EMBEDDING, _HEAD.removesuffix(".weight"))
    )
    return {part.lender for part in head} != embedding


def changed_weights(model: nn.Module) -> dict[str, Callable[[], Tensor]]:
    """Return what makes each parameter that the active adapter changes, by name, for the model to be saved.

    Raises:
        OutOfReach: Such a weight is quantised, or this process has a part of it; or there is no such bias.

    """
    found: dict[str, Callable[[], Tensor]] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and module.active:
            active = module.switch.active
            assert active is not None  # noqa: S101 - something is active
            for key, changes in _by_parameter(name.removesuffix(".lora"), module, active).items():
                value = _parameter(model, key, "Saving a model with an active adapter")
                found[key] = partial(_applied, value, changes)
    return found


_EMBEDDING, _HEAD = "transformer.wte", "lm_head.weight"


def _is_tied(model: GPT) -> bool:
    return model.lm_head.weight is model.get_submodule(_EMBEDDING).weight


@torch.no_grad()
def _applied(value: Tensor, changes: list[Change]) -> Tensor:
    return applied(value, changes)


def _by_parameter(layer: str, lora: LoraLayer, name: str) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for part in lora.of(name):
        for change in part.changes():
            found.setdefault(f"{layer}.{change.parameter}", []).append(change)
    return found


def _rows(value: Tensor, change: Change) -> Tensor:
    return value if change.rows is None else value[change.rows]


def _parameter(model: nn.Module, key: str, what: str) -> Tensor:
    layer, _, parameter = key.rpartition(".")
    module = model.get_submodule(layer)
    if isinstance(module, QuantisedLinear) and parameter == "weight":
        raise OutOfReach(what, _REMEDY)
    value = getattr(module, parameter)
    if value is None:
        reason = f"it was trained with lora_bias, and {layer} has no bias that it could be added to."
        raise OutOfReach(what, f"{reason} Save the adapter: save_adapter().")
    if hasattr(value, "full_tensor"):
        raise OutOfReach(what, "each process has a part of the weights. Save the adapter: save_adapter().")
    tensor: Tensor = value
    return tensor
