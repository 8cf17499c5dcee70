"""What is added to a linear layer, and what the layer adds."""

# R rank

import math
from collections.abc import Callable

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle


@attrs.define(eq=False)
class Switch:
    """Which adapter of a network is active; all of its layers look here, so to change it costs nothing.

    Attributes:
        active: Its name; None: the layers are what they were.

    """

    active: str | None = None


class LowRank(nn.Module):
    """scaling x B A, for some rows of a layer.

    A and B are in float32, whatever the layer is in, since small steps would be lost in bfloat16.

    Args:
        a: (R, in); None if it is `lender`'s.
        b: (rows, R).
        start: The first of the layer's rows.
        scaling: What B A is multiplied by.
        dropout: How many inputs are left out in training.
        lender: One whose A this has too: both are rows of one tensor in transformers.

    """

    A: Tensor
    B: Tensor

    def __init__(
        self,
        a: Tensor | None,
        b: Tensor,
        *,
        start: int,
        scaling: float,
        dropout: float,
        trainable: bool,
        lender: "LowRank | None" = None,
    ) -> None:
        super().__init__()
        if a is not None:
            self.A = nn.Parameter(a, requires_grad=trainable)
        self.B = nn.Parameter(b, requires_grad=trainable)
        self.start, self.stop = start, start + b.shape[0]
        self.scaling, self.dropout = scaling, dropout
        self._lender = () if lender is None else (lender,)  # in a tuple, it is no child: A has one name

    @property
    def down(self) -> Tensor:
        """A."""
        return self._lender[0].A if self._lender else self.A

    def forward(self, x: Tensor) -> Tensor:
        """Return B A x (…, rows) for `x` (…, in); whoever adds it has to scale it."""
        if self.dropout and self.training and torch.is_grad_enabled():  # and not in a sample between steps
            x = functional.dropout(x, self.dropout)
        a, b = self.down, self.B
        if x.numel() < a.numel() + b.numel():  # of the two, the smaller is converted: A and B for many tokens
            x = x.to(a.dtype)
        small = functional.linear(x, a.to(x.dtype))
        return functional.linear(small, b.to(small.dtype))

    def delta(self) -> Tensor:
        """Return what the layer's rows are changed by: (rows, in), in float32."""
        return (self.B @ self.down) * self.scaling


class LoraLayer(nn.ModuleDict):
    """The pairs beside a layer: by adapter, and then by the tensors of transformers that they are for.

    Args:
        switch: Says which adapter is active.

    """

    def __init__(self, switch: Switch) -> None:
        super().__init__()
        self.switch = switch
        self.hook: RemovableHandle | None = None

    @property
    def active(self) -> tuple[LowRank, ...]:
        """Those that are added now."""
        return self.of(self.switch.active)

    def of(self, adapter: str | None) -> tuple[LowRank, ...]:
        """Return those of an adapter; none if it has none here."""
        if adapter is None or adapter not in self:
            return ()
        return tuple(pair for pair in self[adapter].children() if isinstance(pair, LowRank))


def attach(linear: nn.Module, switch: Switch) -> LoraLayer:
    """Return a linear layer's pairs, which are made a child of it, `lora`, if it has none yet."""
    there = lora_of(linear)
    if there is None:
        there = LoraLayer(switch).train(linear.training)
        linear.add_module("lora", there)
        there.hook = linear.register_forward_hook(_add)
    return there


def detach(linear: nn.Module) -> None:
    """Make a linear layer what it was before anything was put beside it."""
    there = lora_of(linear)
    assert there is not None  # noqa: S101 - who detaches has attached
    assert there.hook is not None  # noqa: S101 - as above
    there.hook.remove()
    del linear.lora


def lora_of(linear: nn.Module) -> LoraLayer | None:
    """Return the pairs beside a layer; None if there never were any."""
    there = getattr(linear, "lora", None)
    return there if isinstance(there, LoraLayer) else None


def changed(weight: Tensor, pairs: tuple[LowRank, ...]) -> Tensor:
    """Return a weight (out, in) with what pairs add to it, added in float32 and rounded once."""
    found = weight.clone()
    for pair in pairs:
        rows = slice(pair.start, pair.stop)
        found[rows] = (weight[rows].float() + pair.delta().to(weight.device)).to(weight.dtype)
    return found


def weight_of(linear: nn.Linear) -> Tensor:
    """Return what a layer multiplies by now, for those who do it themselves. No inputs are left out."""
    lora = lora_of(linear)
    return linear.weight if lora is None or not lora.active else changed(linear.weight, lora.active)


def whole(parameter: Tensor) -> Tensor:
    """Return a parameter in float32 on the CPU, with what other processes have where each has a part."""
    gather: Callable[[], Tensor] = getattr(parameter, "full_tensor", parameter.detach)
    return gather().detach().to("cpu", torch.float32)


def drawn(rank: int, inputs: int, device: torch.device) -> Tensor:
    """Return an A (R, in) to begin with, as PEFT draws it: uniform, as a linear layer's weight is."""
    a = torch.empty(rank, inputs, device=device, dtype=torch.float32)
    return nn.init.kaiming_uniform_(a, a=math.sqrt(5))


def zeros(outputs: int, rank: int, device: torch.device) -> Tensor:
    """Return a B (rows, R) to begin with: nothing is added."""
    return torch.zeros(outputs, rank, device=device, dtype=torch.float32)


def _add(linear: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
    lora = lora_of(linear)
    assert lora is not None  # noqa: S101 - this is its hook
    for pair in lora.active:
        # In place: nobody else has seen the product yet, and its own gradient does not need it.
        out[..., pair.start : pair.stop].add_(pair(inputs[0]), alpha=pair.scaling)
    return out
