"""Adding what was learnt to the weights, and taking it away again."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.lora.pairs import LoraLayer, changed
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.domain.errors import OutOfReach

_REMEDY = (
    "the weights are quantised, and what is added to them would be rounded away. Load the model without "
    "`quantize` and merge there, or save the adapter: save_adapter()."
)


@attrs.frozen(eq=False)
class Kept:
    """Rows as they were before a merge, on the CPU.

    Attributes:
        rows: By layer, the first row and the rows.

    """

    rows: Mapping[str, tuple[tuple[int, Tensor], ...]] = attrs.field(repr=False, factory=dict)


@torch.no_grad()
def merge(model: nn.Module, layers: Mapping[str, LoraLayer], name: str, *, keep: bool) -> Kept:
    """Add an adapter to the weights, in place, and return what they were if that is to be kept.

    Args:
        model: The network.
        layers: The layers that it is for.
        name: The adapter.
        keep: Whether to keep the rows.

    Raises:
        OutOfReach: A weight is quantised, or this process has a part of it.

    """
    weights = {layer: _weight(model.get_submodule(layer), "Merging an adapter") for layer in layers}
    kept = {}
    for layer, lora in layers.items():
        weight, pairs = weights[layer], lora.of(name)
        if keep:
            kept[layer] = tuple((pair.start, weight[pair.start : pair.stop].cpu().clone()) for pair in pairs)
        weight.copy_(changed(weight, pairs))
    return Kept(kept)


@torch.no_grad()
def restore(model: nn.Module, kept: Kept) -> None:
    """Write the rows back that were kept."""
    for layer, rows in kept.rows.items():
        weight = _weight(model.get_submodule(layer), "Unmerging an adapter")
        for start, those in rows:
            weight[start : start + those.shape[0]] = those.to(weight.device)


def changed_weights(model: nn.Module) -> dict[str, Callable[[], Tensor]]:
    """Return what makes each weight that the active adapter changes, by its name, for the model to be saved.

    Raises:
        OutOfReach: Such a weight is quantised, or this process has a part of it.

    """
    found: dict[str, Callable[[], Tensor]] = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and module.active:
            layer = name.removesuffix(".lora")
            weight = _weight(model.get_submodule(layer), "Saving a model with an active adapter")
            found[f"{layer}.weight"] = partial(_changed, weight, module)
    return found


@torch.no_grad()
def _changed(weight: Tensor, lora: LoraLayer) -> Tensor:
    return changed(weight, lora.active)


def _weight(linear: nn.Module, what: str) -> Tensor:
    if isinstance(linear, QuantisedLinear):
        raise OutOfReach(what, _REMEDY)
    assert isinstance(linear, nn.Linear)  # noqa: S101 - pairs are beside these two kinds
    if hasattr(linear.weight, "full_tensor"):
        raise OutOfReach(what, "each process has a part of the weights. Save the adapter: save_adapter().")
    return linear.weight
