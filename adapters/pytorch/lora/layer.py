"""What an adapter puts beside a module: a child, `lora`, that changes what the module computes."""

from collections.abc import Callable, Iterable, Iterator
from types import MethodType
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear

ADDITIVE = (nn.Linear, nn.Embedding, QuantisedLinear)
"""Modules to whose output an adapter is added; of others, the parameters are replaced while they compute."""


@attrs.define(eq=False)
class Switch:
    """Which adapter of a network is active; all of its layers look here, so to change it costs nothing.

    Attributes:
        active: Its name; None: the layers are what they were.

    """

    active: str | None = None


@attrs.frozen(eq=False)
class Change:
    """How a parameter of a module is changed.

    Attributes:
        parameter: Its name in the module.
        rows: Which of its rows change; None: all.
        make: Returns the new rows, given the old ones in float32.

    """

    parameter: str
    rows: slice | Tensor | None
    make: Callable[[Tensor], Tensor]


class Part(nn.Module):
    """A part of an adapter: what it changes of one module.

    Attributes:
        additive: Whether it is added to the output of a linear layer or an embedding.

    """

    additive = True
    _lender: "tuple[Part, ...]" = ()

    @property
    def lender(self) -> "Part | None":
        """The part whose tensors this one has."""
        return self._lender[0] if self._lender else None

    def changes(self) -> Iterator[Change]:
        """Yield what a merge changes."""
        raise NotImplementedError

    def add_to(self, out: Tensor, x: Tensor, module: nn.Module) -> Tensor:
        """Return what a module makes of `x` with this part, given what it made of it without."""
        raise NotImplementedError


class Replacement(Part):
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
        lender: "Replacement | None" = None,
    ) -> None:
        super().__init__()
        if lender is None:
            self.register_parameter("value", nn.Parameter(value, requires_grad=trainable))
        self.parameter = parameter
        self.rows = None if start is None else slice(start, start + value.shape[0])
        self._lender: tuple[Replacement, ...] = (
            () if lender is None else (lender,)
        )  # in a tuple, it is no child

    @property
    def current(self) -> Tensor:
        """The value."""
        return self._lender[0].current if self._lender else self.get_parameter("value")

    def changes(self) -> Iterator[Change]:
        """Yield the value."""
        yield Change(self.parameter, self.rows, lambda old: self.current.to(old.device))


class LoraLayer(nn.ModuleDict):
    """The parts beside a module: by adapter, and then by the tensors of transformers that they are for.

    Args:
        switch: Says which adapter is active.

    """

    def __init__(self, switch: Switch) -> None:
        super().__init__()
        self.switch = switch
        self.hook: RemovableHandle | None = None

    @property
    def active(self) -> tuple[Part, ...]:
        """Those that count now."""
        return self.of(self.switch.active)

    def of(self, adapter: str | None) -> tuple[Part, ...]:
        """Return those of an adapter, replacements first; none if it has none here."""
        if adapter is None or adapter not in self:
            return ()
        parts = [part for part in self[adapter].children() if isinstance(part, Part)]
        return tuple(sorted(parts, key=lambda part: part.additive))


def attach(module: nn.Module, switch: Switch) -> LoraLayer:
    """Return what is beside a module, which is made a child of it, `lora`, if there is nothing yet."""
    there = lora_of(module)
    if there is None:
        there = LoraLayer(switch).train(module.training)
        module.add_module("lora", there)
    return there


def put(module: nn.Module, adapter: str, name: str, part: Part, switch: Switch) -> None:
    """Put a part of an adapter beside a module.

    Args:
        module: The module.
        adapter: The adapter.
        name: What to call the part.
        part: It.
        switch: Says which adapter is active.

    """
    layer = attach(module, switch)
    if adapter not in layer:
        layer[adapter] = nn.ModuleDict()
    layer[adapter].add_module(name, part.train(module.training))
    if part.additive and isinstance(module, ADDITIVE):
        if layer.hook is None:
            layer.hook = module.register_forward_hook(_add)
    else:
        module.forward = MethodType(_with_replacements, module)


def detach(module: nn.Module) -> None:
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


def applied(value: Tensor, changes: Iterable[Change]) -> Tensor:
    """Return a parameter with its changes, each made in float32 and rounded once; a copy if there are any."""
    found = value
    for change in changes:
        if change.rows is None:
            found = change.make(found).to(value.dtype)
            continue
        found = found.clone() if found is value else found
        found[change.rows] = change.make(found[change.rows].float()).to(value.dtype)
    return found


def current(module: nn.Module, parameter: str) -> Any:
    """Return the parameter, or None, that a module computes with now, before its output is added to."""
    value = getattr(module, parameter)
    lora = lora_of(module)
    if value is None or lora is None:
        return value
    parts = [part for part in lora.active if not (part.additive and isinstance(module, ADDITIVE))]
    return applied(value, _of(parts, parameter))


def weight_of(linear: nn.Module) -> Tensor:
    """Return what a layer multiplies by now, for those who do it themselves. No inputs are left out."""
    weight: Tensor = linear.get_parameter("weight")
    lora = lora_of(linear)
    return weight if lora is None else applied(weight, _of(lora.active, "weight"))


def dense_weight(module: nn.Module) -> Tensor:
    """Return the weight that a layer multiplies by without what is added to its output, dequantized."""
    weight: Tensor = (
        module.dequantised() if isinstance(module, QuantisedLinear) else current(module, "weight")
    )
    return weight


def _of(parts: Iterable[Part], parameter: str) -> list[Change]:
    return [change for part in parts for change in part.changes() if change.parameter == parameter]


def _add(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
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
    replacing = [part for part in lora.active if not (part.additive and isinstance(module, ADDITIVE))]
    if not replacing:
        return compute(module, *inputs, **named)
    new = {
        name: current(module, name) for part in replacing for name in (c.parameter for c in part.changes())
    }
    own = module.__dict__
    stand_in = object.__new__(type(module))
    stand_in.__dict__ = {name: value for name, value in own.items() if name != "forward"}
    for kind in ("_parameters", "_buffers"):
        replaced = {name: value for name, value in new.items() if name in own[kind]}
        stand_in.__dict__[kind] = {**own[kind], **replaced}
    return compute(stand_in, *inputs, **named)


def whole(parameter: Tensor) -> Tensor:
    """Return a parameter in float32 on the CPU, with what other processes have where each has a part."""
    gather: Callable[[], Tensor] = getattr(parameter, "full_tensor", parameter.detach)
    return gather().detach().to("cpu", torch.float32)
