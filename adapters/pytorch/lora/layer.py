"""Low-rank pairs: what is added to a linear layer, an embedding or a router."""

# R rank

import math
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.lora.module_hook import (
    AdapterModule,
    ParameterUpdate,
    current_parameter,
    dequantized_weight,
)
from litgpt.adapters.pytorch.ops.tensor_versions import version


@attrs.frozen
class LoraOptions:
    """How a pair is used.

    Attributes:
        scaling: What B A is multiplied by.
        dropout: How many of its inputs are left out in training.
        trainable: Whether it learns.

    """

    scaling: float
    dropout: float
    trainable: bool


class LoraPair(AdapterModule):
    """scaling x B A, for some rows of a layer.

    A and B are in float32, whatever the layer is in, since small steps would be lost in bfloat16.

    Args:
        a: (R, in); None if it is `lender`'s.
        b: (rows, R); None if it is `lender`'s, too.
        start: The first of the layer's rows.
        use: How it is used.
        bias: (rows,), added to B's product; None: there is none.
        magnitude: The norms that DoRA learns: (rows,), or (in,) of an embedding; None: no DoRA.
        by_column: Whether these are norms of columns, as those of an embedding are.
        lender: One whose A this has too, because both are rows of one tensor in transformers; or whose A and
            B, because an embedding and a head are tied.

    """

    bias: Tensor | None
    magnitude: Tensor | None

    def __init__(
        self,
        lora_A: Tensor | None,
        lora_B: Tensor | None,
        *,
        start: int,
        options: LoraOptions,
        bias: Tensor | None = None,
        magnitude: Tensor | None = None,
        by_column: bool = False,
        tied_to: "LoraPair | None" = None,
    ) -> None:
        super().__init__()
        for name, value in (("A", lora_A), ("B", lora_B)):
            if value is not None:
                self.register_parameter(name, nn.Parameter(value, requires_grad=options.trainable))
        for name, value in (("bias", bias), ("magnitude", magnitude)):
            own = None if value is None else nn.Parameter(value, requires_grad=options.trainable)
            self.register_parameter(name, own)
        self._tied_to: tuple[LoraPair, ...] = (
            () if tied_to is None else (tied_to,)
        )  # in a tuple, it is no child
        self.start, self.stop = start, start + self.lora_B.shape[0]
        self.scaling, self.dropout, self._axis = options.scaling, options.dropout, 0 if by_column else 1
        self._norm: tuple[tuple[int, ...], Tensor] | None = None

    @property
    def lora_A(self) -> Tensor:
        """A."""
        return self.get_parameter("A") if "A" in self._parameters else self._tied_to[0].lora_A

    @property
    def lora_B(self) -> Tensor:
        """B."""
        return self.get_parameter("B") if "B" in self._parameters else self._tied_to[0].lora_B

    def forward(self, x: Tensor) -> Tensor:
        """Return B A x (…, rows) for `x` (…, in); whoever adds it has to scale it."""
        a, b = self.lora_A.to(x.device), self.lora_B.to(x.device)
        if x.numel() < a.numel() + b.numel():  # of the two, the smaller is converted: A and B for many tokens
            x = x.to(a.dtype)
        small = functional.linear(x, a.to(x.dtype))
        return functional.linear(
            small, b.to(small.dtype), None if self.bias is None else self.bias.to(small.dtype)
        )

    def add_to(self, out: Tensor, x: Tensor, module: nn.Module) -> Tensor:
        """Return what a module makes of `x` with this pair, given what it made of it without."""
        if isinstance(module, nn.Embedding):
            return self._embedding_forward(out, x, module)
        # Not in a sample between steps.
        drops = self.dropout and self.training and torch.is_grad_enabled()
        seen = functional.dropout(x, self.dropout) if drops else x
        rows = out[..., self.start : self.stop]
        if self.magnitude is None:
            # In place: nobody else has seen the product yet, and its own gradient does not need it.
            rows.add_(self(seen), alpha=self.scaling)
            return out
        bias = current_parameter(module, "bias")
        bias = 0 if bias is None else bias[self.start : self.stop]
        product = (_forward(module, seen)[..., self.start : self.stop] if drops else rows.clone()) - bias
        factor = self._dora_factor(module)
        more = (factor - 1) * product + factor * self.scaling * self(seen)
        rows.add_(more)
        return out

    def _embedding_forward(self, out: Tensor, ids: Tensor, module: nn.Embedding) -> Tensor:
        a, b = self.lora_A.to(ids.device), self.lora_B.to(ids.device)
        made = out + (functional.embedding(ids, b) @ a) * self.scaling
        if self.magnitude is not None:
            made = made * self._dora_factor(module)
        return made.to(out.dtype)

    def delta(self) -> Tensor:
        """Return what the layer's rows are changed by before DoRA: (rows, in), in float32."""
        return (self.lora_B.to(self.lora_A.device) @ self.lora_A) * self.scaling

    def updates(self) -> Iterator[ParameterUpdate]:
        """Yield what a merge changes of the weight and, if B has a bias, of the module's."""
        rows = slice(self.start, self.stop)
        yield ParameterUpdate("weight", rows, self._merged_rows)
        if (bias := self.bias) is not None:
            yield ParameterUpdate("bias", rows, lambda old: old + bias.to(old.device) * self.scaling)

    def _merged_rows(self, rows: Tensor) -> Tensor:
        changed = rows + self.delta().to(rows.device)
        if self.magnitude is None:
            return changed
        factor = self.magnitude.to(rows.device) / changed.detach().norm(dim=self._axis)
        made: Tensor = changed * factor.unsqueeze(self._axis)
        return made

    def _dora_factor(self, module: nn.Module) -> Tensor:
        """Return what DoRA multiplies by; the norm is a constant (section 4.3 of arXiv:2402.09353)."""
        assert self.magnitude is not None  # noqa: S101 - who asks has looked
        with torch.no_grad():
            weight = dequantized_weight(module)
            versions = tuple(map(version, (self.lora_A, self.lora_B, weight)))
            if self._norm is None or self._norm[0] != versions or self.training:
                changed = weight[self.start : self.stop].float() + self.delta().to(weight.device)
                self._norm = (versions, changed.norm(dim=self._axis))
        return self.magnitude.to(weight.device) / self._norm[1]


def init_lora_A(rank: int, in_features: int, device: torch.device) -> Tensor:
    """Return an A (R, in) to begin with, as PEFT draws it: uniform, as a linear layer's weight is."""
    a = torch.empty(rank, in_features, device=device, dtype=torch.float32)
    return nn.init.kaiming_uniform_(a, a=math.sqrt(5))


def _forward(module: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = module.forward(x)  # without the hook that adds this pair
    return out
