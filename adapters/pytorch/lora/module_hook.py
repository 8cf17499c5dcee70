"""LoRA layers: a child module, `lora`, that changes the output or the parameters of its parent."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any, Self

import attrs
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear

ADDITIVE_MODULES = (nn.Linear, nn.Embedding, QuantizedLinear)
"""Modules with an additive update of their output. Of other modules, parameters are replaced in forward."""


@attrs.define(eq=False)
class ActiveAdapter:
    """The name of the active adapter of a model, or None; shared by all LoRA layers.

    Attributes:
        merged: The adapter that is merged into the weights until it is unmerged; None: none.
    """

    name: str | None = None
    merged: str | None = None


@attrs.frozen(eq=False)
class ParameterUpdate:
    """An update of a module's parameter.

    Attributes:
        rows: The rows that change; None: all.
        compute: Function from the old rows, in float32 unless `rows` is None, to the new rows.
    """

    parameter: str
    rows: slice | Tensor | None
    compute: Callable[[Tensor], Tensor]


_chosen: "ContextVar[RequestAdapter | None]" = ContextVar("_chosen", default=None)


class AdapterModule(nn.Module):
    """A part of an adapter that changes one module.

    An `additive` part changes the output of a linear layer or an embedding, not its parameters.
    """

    additive = True

    def __init__(self, tied_to: Self | None = None) -> None:
        super().__init__()
        # In a tuple, the module is not registered as a child.
        self._tied_to: tuple[Self, ...] = () if tied_to is None else (tied_to,)

    @property
    def tied_to(self) -> Self | None:
        """The part whose tensors this part shares."""
        return self._tied_to[0] if self._tied_to else None

    def updates(self) -> Iterator[ParameterUpdate]:
        """Yield the updates that a merge applies to the module's parameters."""
        raise NotImplementedError

    def add_to(self, out: Tensor, x: Tensor, module: nn.Module) -> Tensor:
        """Return the module's output for `x` with this part, given the output `out` without it."""
        raise NotImplementedError


class ReplacedRows(AdapterModule):
    """Rows that replace rows of a module's parameter (PEFT's modules_to_save).

    `start` is the first row that is replaced, or None for the whole parameter; `tied_to` is the replaced
    weight of a tied embedding.
    """

    additive = False

    def __init__(
        self,
        value: Tensor,
        *,
        parameter: str,
        start: int | None,
        trainable: bool,
        tied_to: Self | None = None,
    ) -> None:
        super().__init__(tied_to)
        if tied_to is None:
            self.register_parameter("value", nn.Parameter(value, requires_grad=trainable))
        self.parameter = parameter
        self.rows = None if start is None else slice(start, start + value.shape[0])

    @property
    def current(self) -> Tensor:
        return self._tied_to[0].current if self._tied_to else self.get_parameter("value")

    def updates(self) -> Iterator[ParameterUpdate]:
        yield ParameterUpdate(self.parameter, self.rows, lambda old: self.current.to(old.device))


class LoraLayer(nn.ModuleDict):
    """The parts of all adapters in one module, by adapter and then by name."""

    def __init__(self, active_adapter: ActiveAdapter) -> None:
        super().__init__()
        self.active_adapter = active_adapter
        self.hook: RemovableHandle | None = None

    @property
    def active(self) -> tuple[AdapterModule, ...]:
        """The parts that compute: those of the active adapter, unless `computing_with` names another."""
        chosen = _chosen.get()
        return self.parts_of(self.active_adapter.name) if chosen is None else chosen.parts.get(self, ())

    def parts_of(self, adapter: str | None) -> tuple[AdapterModule, ...]:
        """Return the parts of an adapter in this module, replacements first."""
        if adapter is None or adapter not in self:
            return ()
        parts = [part for part in self[adapter].children() if isinstance(part, AdapterModule)]
        return tuple(sorted(parts, key=lambda part: part.additive))

    def updated(self, parameter: str, value: Tensor) -> Tensor:
        """Return a parameter of the module with all updates of the active adapter, without dropout."""
        return apply_updates(value, _updates_of(self.active, parameter))


@attrs.frozen(eq=False)
class RequestAdapter:
    """The parts of an adapter, for requests that are computed with it whichever adapter is active.

    They remain usable after the adapter has been deleted.

    Attributes:
        name: The name of the adapter.
        active: The active adapter of the same model.
        layers: The LoRA layers that contain it, by the name of their module.
        parts: Its parts in each of them, replacements first.
        key: What identifies it without referencing it.
    """

    name: str
    active: ActiveAdapter
    layers: Mapping[str, LoraLayer] = attrs.field(repr=False)
    parts: Mapping[LoraLayer, tuple[AdapterModule, ...]] = attrs.field(init=False, repr=False)
    key: object = attrs.field(factory=object, init=False, repr=False)

    @parts.default
    def _parts(self) -> Mapping[LoraLayer, tuple[AdapterModule, ...]]:
        return {lora: lora.parts_of(self.name) for lora in self.layers.values()}


@contextmanager
def computing_with(adapter: RequestAdapter | None) -> Iterator[None]:
    """Compute with an adapter in this thread; None: with the active one."""
    token = _chosen.set(adapter)
    try:
        yield
    finally:
        _chosen.reset(token)


def get_or_add_lora(module: nn.Module, active_adapter: ActiveAdapter) -> LoraLayer:
    """Return the LoRA layer of a module, which is added as its child `lora` if it has none."""
    lora = lora_of(module)
    if lora is None:
        lora = LoraLayer(active_adapter).train(module.training)
        module.add_module("lora", lora)
    return lora


def add_to_module(
    module: nn.Module, adapter: str, name: str, part: AdapterModule, active_adapter: ActiveAdapter
) -> None:
    """Add a part of an adapter to a module, under a name."""
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
    """Remove the LoRA layer of a module, its hook and its forward method."""
    lora = lora_of(module)
    assert lora is not None  # noqa: S101 - callers have found an adapter in it
    if lora.hook is not None:
        lora.hook.remove()
    module.__dict__.pop("forward", None)
    del module.lora


def lora_of(module: nn.Module) -> LoraLayer | None:
    """Return the LoRA layer of a module; None if it has none."""
    lora = getattr(module, "lora", None)
    return lora if isinstance(lora, LoraLayer) else None


def apply_updates(value: Tensor, updates: Iterable[ParameterUpdate]) -> Tensor:
    """Return the updated parameter; each update is computed in float32 and rounded once.

    `value` itself is not changed.
    """
    updated = value
    for update in updates:
        if update.rows is None:
            updated = update.compute(updated).to(value.dtype)
            continue
        updated = updated.clone() if updated is value else updated
        updated[update.rows] = update.compute(updated[update.rows].float()).to(value.dtype)
    return updated


def current_parameter(module: nn.Module, parameter: str) -> Any:
    """Return the parameter that a module currently computes with, without additive updates; may be None."""
    value = getattr(module, parameter)
    lora = lora_of(module)
    if value is None or lora is None:
        return value
    parts = [part for part in lora.active if not (part.additive and isinstance(module, ADDITIVE_MODULES))]
    return apply_updates(value, _updates_of(parts, parameter))


def dequantized_weight(module: nn.Module) -> Tensor:
    """Return the dequantized weight of a layer, without additive updates."""
    weight: Tensor = (
        module.dequantize() if isinstance(module, QuantizedLinear) else current_parameter(module, "weight")
    )
    return weight


def _updates_of(parts: Iterable[AdapterModule], parameter: str) -> list[ParameterUpdate]:
    return [change for part in parts for change in part.updates() if change.parameter == parameter]


def _forward_hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
    lora = lora_of(module)
    assert lora is not None  # noqa: S101 - the hook is removed together with the LoRA layer
    for part in lora.active:
        if part.additive:
            out = part.add_to(out, inputs[0], module)
    return out


def _with_replacements(module: nn.Module, *inputs: Any, **named: Any) -> Any:
    """Run the forward method of a module with the parameters of the active adapter.

    A shallow copy of the module has these parameters, so that other threads can use the module meanwhile.
    """
    lora = lora_of(module)
    assert lora is not None  # noqa: S101 - this method is removed together with the LoRA layer
    compute: Any = type(module).forward
    replacing = [part for part in lora.active if not (part.additive and isinstance(module, ADDITIVE_MODULES))]
    if not replacing:
        return compute(module, *inputs, **named)
    new = {
        name: current_parameter(module, name)
        for part in replacing
        for name in (update.parameter for update in part.updates())
    }
    own = module.__dict__
    copy = object.__new__(type(module))
    copy.__dict__ = {name: value for name, value in own.items() if name != "forward"}
    for kind in ("_parameters", "_buffers"):
        replaced = {name: value for name, value in new.items() if name in own[kind]}
        copy.__dict__[kind] = {**own[kind], **replaced}
    return compute(copy, *inputs, **named)


def full_tensor(parameter: Tensor) -> Tensor:
    """Return a parameter in float32 on the CPU, gathered from all ranks if it is a DTensor."""
    gather: Callable[[], Tensor] = getattr(parameter, "full_tensor", parameter.detach)
    return gather().detach().to("cpu", torch.float32)
