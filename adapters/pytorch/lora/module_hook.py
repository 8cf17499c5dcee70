"""What an adapter puts beside a module: a child, `lora`, that changes what the module computes."""

from collections.abc import Callable, Iterable, Iterator
from types import MethodType
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear

ADDITIVE_MODULES = (nn.Linear, nn.Embedding, QuantizedLinear)
"""Modules to whose output an adapter is added; of others, the parameters are replaced while they compute."""


@attrs.define(eq=False)
class ActiveAdapter:
    """Which adapter of a network is active; all of its layers look here, so to change it costs nothing.

    Attributes:
        name: Its name; None: the layers are what they were.

    """

    name: str | None = None


@attrs.frozen(eq=False)
class ParameterUpdate:
    """How a parameter of a module is changed.

    Attributes:
        parameter: Its name in the module.
        rows: Which of its rows change; None: all.
        compute: Returns the new rows, given the old ones in float32.

    """

    parameter: str
    rows: slice | Tensor | None
    compute: Callable[[Tensor], Tensor]


class AdapterModule(nn.Module):
    """A part of an adapter: what it changes of one module.

    Attributes:
        additive: Whether it is added to the output of a linear layer or an embedding.

    """

    additive = True
    _tied_to: "tuple[AdapterModule, ...]" = ()

    @property
    def tied_to(self) -> "AdapterModule | None":
        """The part whose tensors this one has."""
        return self._tied_to[0] if self._tied_to else None

    def updates(self) -> Iterator[ParameterUpdate]:
        """Yield what a merge changes."""
        raise NotImplementedError

    def add_to(self, out: Tensor, x: Tensor, module: nn.Module) -> Tensor:
        """Return what a module makes of `x` with this part, given what it made of it without."""
        raise NotImplementedError


class ReplacedRows(AdapterModule):
    """Rows of a parameter that were trained whole, in place of the module's.

    Args:
        value: The rows.
        parameter: The name of the parameter.
        start: The first of its rows; None: the value is all of it.
        trainable: Whether it learns.
        lender: One whose value this has, because an embedding and a head are tied.

    """

    additive = False

    def __init__(
        self,
        value: Tensor,
        *,
        parameter: str,
        start: int | None,
        trainable: bool,
        tied_to: "ReplacedRows | None" = None,
    ) -> None:
        super().__init__()
        if tied_to is None:
            self.register_parameter("value", nn.Parameter(value, requires_grad=trainable))
        self.parameter = parameter
        self.rows = None if start is None else slice(start, start + value.shape[0])
        self._tied_to: tuple[ReplacedRows, ...] = (
            () if tied_to is None else (tied_to,)
        )  # in a tuple, it is no child

    @property
    def current(self) -> Tensor:
        """The value."""
        return self._tied_to[0].current if self._tied_to else self.get_parameter("value")

    def updates(self) -> Iterator[ParameterUpdate]:
        """Yield the value."""
        yield ParameterUpdate(self.parameter, self.rows, lambda old: self.current.to(old.device))


class LoraLayer(nn.ModuleDict):
    """The parts beside a module: by adapter, and then by the tensors of transformers that they are for.

    Args:
        active_adapter: Says which adapter is active.

    """

    def __init__(self, active_adapter: ActiveAdapter) -> None:
        super().__init__()
        self.active_adapter = active_adapter
        self.hook: RemovableHandle | None = None

    @property
    def active(self) -> tuple[AdapterModule, ...]:
        """Those that count now."""
        return self.parts_of(self.active_adapter.name)

    def parts_of(self, adapter: str | None) -> tuple[AdapterModule, ...]:
        """Return those of an adapter, replacements first; none if it has none here."""
        if adapter is None or adapter not in self:
            return ()
        parts = [part for part in self[adapter].children() if isinstance(part, AdapterModule)]
        return tuple(sorted(parts, key=lambda part: part.additive))


def get_or_add_lora(module: nn.Module, active_adapter: ActiveAdapter) -> LoraLayer:
    """Return what is beside a module, which is made a child of it, `lora`, if there is nothing yet."""
    there = lora_of(module)
    if there is None:
        there = LoraLayer(active_adapter).train(module.training)
        module.add_module("lora", there)
    return there


def add_to_module(
    module: nn.Module, adapter: str, name: str, part: AdapterModule, active_adapter: ActiveAdapter
) -> None:
    """Put a part of an adapter beside a module.

    Args:
        module: The module.
        adapter: The adapter.
        name: What to call the part.
        part: It.
        active_adapter: Says which adapter is active.

    """
    layer = get_or_add_lora(module, active_adapter)
    if adapter not in layer:
        layer[adapter] = nn.ModuleDict()
    layer[adapter].add_module(name, part.train(module.training))
    if part.additive and isinstance(module, ADDITIVE_MODULES):
        if layer.hook is None:
            layer.hook = module.register_forward_hook(_forward_hook)
    else:
        module.forward = MethodType(_with_replacements, module)


def remove_lora(module: nn.Module) -> None:
    """Make a module what it was before anything was put beside it."""
    there = lora_of(module)
    assert there is not None  # noqa: S101 - who detaches has attached
    if there.hook is not None:
        there.hook.remove()
    module.__dict__.pop("forward", None)
    del module.lora


def lora_of(module: nn.Module) -> LoraLayer | None:
    """Return what is beside a module; None if there never was anything."""
    there = getattr(module, "lora", None)
    return there if isinstance(there, LoraLayer) else None


def apply_updates(value: Tensor, updates: Iterable[ParameterUpdate]) -> Tensor:
    """Return a parameter with its changes, each made in float32 and rounded once; a copy if there are any."""
    found = value
    for change in updates:
        if change.rows is None:
            found = change.compute(found).to(value.dtype)
            continue
        found = found.clone() if found is value else found
        found[change.rows] = change.compute(found[change.rows].float()).to(value.dtype)
    return found


def current_parameter(module: nn.Module, parameter: str) -> Any:
    """Return the parameter, or None, that a module computes with now, before its output is added to."""
    value = getattr(module, parameter)
    lora = lora_of(module)
    if value is None or lora is None:
        return value
    parts = [part for part in lora.active if not (part.additive and isinstance(module, ADDITIVE_MODULES))]
    return apply_updates(value, _updates_of(parts, parameter))


def effective_weight(linear: nn.Module) -> Tensor:
    """Return what a layer multiplies by now, for those who do it themselves. No inputs are left out."""
    weight: Tensor = linear.get_parameter("weight")
    lora = lora_of(linear)
    return weight if lora is None else apply_updates(weight, _updates_of(lora.active, "weight"))


def dequantized_weight(module: nn.Module) -> Tensor:
    """Return the weight that a layer multiplies by without what is added to its output, dequantized."""
    weight: Tensor = (
        module.dequantize() if isinstance(module, QuantizedLinear) else current_parameter(module, "weight")
    )
    return weight


def _updates_of(parts: Iterable[AdapterModule], parameter: str) -> list[ParameterUpdate]:
    return [change for part in parts for change in part.updates() if change.parameter == parameter]


def _forward_hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
    lora = lora_of(module)
    assert lora is not None  # noqa: S101 - this is its hook
    for part in lora.active:
        if part.additive:
            out = part.add_to(out, inputs[0], module)
    return out


def _with_replacements(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    """Compute as a module does, with the parameters that the active adapter has for it.

    A second object with these parameters computes, so the module itself never changes: another thread may use
    it.
    """
    lora = lora_of(module)
    assert lora is not None  # noqa: S101 - it has this method because of it
    compute: Any = type(module).forward
    replacing = [part for part in lora.active if not (part.additive and isinstance(module, ADDITIVE_MODULES))]
    if not replacing:
        return compute(module, *inputs, **named)
    new = {
        name: current_parameter(module, name)
        for part in replacing
        for name in (c.parameter for c in part.updates())
    }
    own = module.__dict__
    stand_in = object.__new__(type(module))
    stand_in.__dict__ = {name: value for name, value in own.items() if name != "forward"}
    for kind in ("_parameters", "_buffers"):
        replaced = {name: value for name, value in new.items() if name in own[kind]}
        stand_in.__dict__[kind] = {**own[kind], **replaced}
    return compute(stand_in, *inputs, **named)


def full_tensor(parameter: Tensor) -> Tensor:
    """Return a parameter in float32 on the CPU, with what other processes have where each has a part."""
    gather: Callable[[], Tensor] = getattr(parameter, "full_tensor", parameter.detach)
    return gather().detach().to("cpu", torch.float32)
