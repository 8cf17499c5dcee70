"""Products with a weight that is stored in fewer bits than it is multiplied in, converted block by block."""

# N rows of the input, O outputs, I inputs

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

WeightRows: TypeAlias = Callable[[slice], Tensor]
"""Returns rows (some of O, I) of a weight, in any dtype."""

# Weights that are converted at once: 4 MB in float32, which a processor's cache holds.
_BLOCK_NUMEL = 2**20


def matmul_blockwise(x: Tensor, rows: WeightRows, out_features: int, dtype: torch.dtype) -> Tensor:
    """Return x times the transposed weight (N, O), in `dtype`. Autocast is to be off.

    Args:
        x: (N, I).
        rows: The weight.
        out_features: Its number of rows, O.
        dtype: What to multiply in.

    """
    x = x.to(dtype)
    blocks = list(_blocks(x, out_features))
    if len(blocks) == 1:
        return functional.linear(x, rows(blocks[0]).to(dtype))
    out = x.new_empty(len(x), out_features)
    for block in blocks:
        out[:, block] = functional.linear(x, rows(block).to(dtype))
    return out


def input_gradient(gradient: Tensor, rows: WeightRows, in_features: int, dtype: torch.dtype) -> Tensor:
    """Return the gradient of a product's input (N, I), in `dtype`, for that of its result (N, O)."""
    found = gradient.new_zeros(len(gradient), in_features, dtype=dtype)
    for block in _blocks(found, gradient.shape[1]):
        found.addmm_(gradient[:, block].to(dtype), rows(block).to(dtype))
    return found


def add_weight_gradient_(total: Tensor, gradient: Tensor, x: Tensor, dtype: torch.dtype) -> None:
    """Add the gradient of a product's weight to `total` (O, I), in place.

    Args:
        total: In any dtype.
        gradient: That of the result (N, O).
        x: The input (N, I).
        dtype: What to multiply in.

    """
    x = x.to(dtype)
    for block in _blocks(x, len(total)):
        total[block] += gradient[:, block].t().to(dtype) @ x


def _blocks(x: Tensor, out_features: int) -> Iterator[slice]:
    """Yield slices of a weight's rows; all of them at once where there is no cache to keep them in."""
    step = max(64, _BLOCK_NUMEL // x.shape[1] // 64 * 64) if x.device.type == "cpu" else out_features
    for start in range(0, out_features, max(1, step)):
        yield slice(start, min(out_features, start + step))


class MixedPrecisionLinear(torch.autograd.Function):
    """A linear layer in another arithmetic than its weight's; nothing is kept of the converted weight.

    Its result is not a view, so that what it returns can be added to in place.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, result: torch.dtype, dtype: torch.dtype
    ) -> Tensor:
        """Return (N, O) in the dtype `result` for `x` (N, I), multiplied in `dtype`."""
        x = x.to(result)  # as autocast rounds; else it is that already
        ctx.save_for_backward(x, weight)
        ctx.dtype, ctx.result = dtype, result
        out = matmul_blockwise(x, row_converter(weight, result), len(weight), dtype)
        if bias is not None:
            out += bias
        return out.to(result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of input, weight and bias."""
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            rows = row_converter(weight, ctx.result)
            of_x = input_gradient(gradient, rows, x.shape[-1], ctx.dtype).to(ctx.result)
        if ctx.needs_input_grad[1]:
            of_weight = torch.zeros_like(weight)
            add_weight_gradient_(of_weight, gradient, x, ctx.dtype)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(0, dtype=ctx.dtype)
        return of_x, of_weight, of_bias, None, None


def row_converter(weight: Tensor, dtype: torch.dtype) -> WeightRows:
    """Return what gives rows of a weight (O, I), rounded to a dtype as autocast does."""
    return lambda block: weight[block].to(dtype)
