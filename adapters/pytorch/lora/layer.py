"""LoRA and DoRA pairs of linear layers, embeddings and routers."""

# R rank

import math
from collections.abc import Iterator
from typing import Self

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
    """The factor of B A, the dropout probability of the input, and whether the pair is trained."""

    scaling: float
    dropout: float
    trainable: bool


class LoraPair(AdapterModule):
    """The update `scaling * B A` of some rows of a layer.

    A and B are in float32 regardless of the layer's dtype, because bfloat16 would round small steps away.

    Args:
        lora_A: (R, in); None: shared with `tied_to`.
        lora_B: (rows, R); None: shared with `tied_to`.
        bias: (rows,), bias of B; None: no bias.
        magnitude: DoRA magnitude: (rows,), or (in,) for an embedding; None: no DoRA.
        by_column: Whether `magnitude` applies to columns, as for an embedding, and not to rows.
        tied_to: A pair that shares its A, because both are rows of one Hugging Face tensor, or its A and B,
            because an embedding and a head are tied.
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
        tied_to: Self | None = None,
    ) -> None:
        super().__init__(tied_to)
        for name, value in (("A", lora_A), ("B", lora_B)):
            if value is not None:
                self.register_parameter(name, nn.Parameter(value, requires_grad=options.trainable))
        for name, value in (("bias", bias), ("magnitude", magnitude)):
            own = None if value is None else nn.Parameter(value, requires_grad=options.trainable)
            self.register_parameter(name, own)
        self.start, self.stop = start, start + self.lora_B.shape[0]
        self.scaling, self.dropout, self._axis = options.scaling, options.dropout, 0 if by_column else 1
        self._norm: tuple[tuple[int, ...], Tensor] | None = None

    @property
    def lora_A(self) -> Tensor:
        return self.get_parameter("A") if "A" in self._parameters else self._tied_to[0].lora_A

    @property
    def lora_B(self) -> Tensor:
        return self.get_parameter("B") if "B" in self._parameters else self._tied_to[0].lora_B

    def forward(self, x: Tensor) -> Tensor:
        """Return the unscaled product B A x (…, rows) for `x` (…, in)."""
        a, b = self.lora_A.to(x.device), self.lora_B.to(x.device)
        if x.numel() < a.numel() + b.numel():  # convert the smaller one: x, or A and B for many tokens
            x = x.to(a.dtype)
        small = functional.linear(x, a.to(x.dtype))
        return functional.linear(
            small, b.to(small.dtype), None if self.bias is None else self.bias.to(small.dtype)
        )

    def add_to(self, out: Tensor, x: Tensor, module: nn.Module) -> Tensor:
        """Add the update of `x` to `out`, the output of `module` without it, and return the sum."""
        if isinstance(module, nn.Embedding):
            return self._embedding_forward(out, x, module)
        # Samples that are generated between training steps, without gradients, do not use dropout.
        drops = self.dropout and self.training and torch.is_grad_enabled()
        dropped = functional.dropout(x, self.dropout) if drops else x
        rows = out[..., self.start : self.stop]
        if self.magnitude is None:
            # In place is safe: the module has just computed `out`, and its backward does not need it.
            rows.add_(self(dropped), alpha=self.scaling)
            return out
        bias = current_parameter(module, "bias")
        bias = 0 if bias is None else bias[self.start : self.stop]
        product = (_forward(module, dropped)[..., self.start : self.stop] if drops else rows.clone()) - bias
        factor = self._dora_factor(module)
        rows.add_((factor - 1) * product + factor * self.scaling * self(dropped))
        return out

    def _embedding_forward(self, out: Tensor, ids: Tensor, module: nn.Embedding) -> Tensor:
        a, b = self.lora_A.to(ids.device), self.lora_B.to(ids.device)
        updated = out + (functional.embedding(ids, b) @ a) * self.scaling
        if self.magnitude is not None:
            updated = updated * self._dora_factor(module)
        return updated.to(out.dtype)

    def delta(self) -> Tensor:
        """Return the update of the layer's rows without DoRA: (rows, in), in float32."""
        return (self.lora_B.to(self.lora_A.device) @ self.lora_A) * self.scaling

    def updates(self) -> Iterator[ParameterUpdate]:
        """Yield the merge updates of the weight and, if B has a bias, of the module's bias."""
        rows = slice(self.start, self.stop)
        yield ParameterUpdate("weight", rows, self._merged_rows)
        if (bias := self.bias) is not None:
            yield ParameterUpdate("bias", rows, lambda old: old + bias.to(old.device) * self.scaling)

    def _merged_rows(self, rows: Tensor) -> Tensor:
        updated = rows + self.delta().to(rows.device)
        if self.magnitude is None:
            return updated
        factor = self.magnitude.to(rows.device) / updated.detach().norm(dim=self._axis)
        scaled: Tensor = updated * factor.unsqueeze(self._axis)
        return scaled

    def _dora_factor(self, module: nn.Module) -> Tensor:
        """Return magnitude / norm; the norm is detached (section 4.3 of arXiv:2402.09353)."""
        assert self.magnitude is not None  # noqa: S101 - callers have checked it
        with torch.no_grad():
            weight = dequantized_weight(module)
            versions = tuple(map(version, (self.lora_A, self.lora_B, weight)))
            if self._norm is None or self._norm[0] != versions or self.training:
                updated = weight[self.start : self.stop].float() + self.delta().to(weight.device)
                self._norm = (versions, updated.norm(dim=self._axis))
        return self.magnitude.to(weight.device) / self._norm[1]


def init_lora_A(rank: int, in_features: int, device: torch.device) -> Tensor:
    """Return an initial A (R, in), Kaiming-uniform as in PEFT."""
    a = torch.empty(rank, in_features, device=device, dtype=torch.float32)
    return nn.init.kaiming_uniform_(a, a=math.sqrt(5))


def _forward(module: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = module.forward(x)  # does not run the hook that adds this pair
    return out
