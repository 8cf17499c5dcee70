"""Matrix products with a weight that is converted to the compute dtype block by block."""

# N rows of the input, O output features, I input features

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

WeightRows: TypeAlias = Callable[[slice], Tensor]
"""Returns a slice of the rows of a weight (O, I), in any dtype."""

# Number of weights that are converted at once: 4 MB in float32, which fits into the CPU cache.
_BLOCK_NUMEL = 2**20


def matmul_blockwise(x: Tensor, rows: WeightRows, out_features: int, dtype: torch.dtype) -> Tensor:
    """Return `x` (N, I) times the transposed weight, (N, O), in `dtype`. Autocast must be disabled."""
    x = x.to(dtype)
    blocks = list(_blocks(x, out_features))
    if len(blocks) == 1:
        return functional.linear(x, rows(blocks[0]).to(dtype))
    out = x.new_empty(len(x), out_features)
    for block in blocks:
        out[:, block] = functional.linear(x, rows(block).to(dtype))
    return out


def input_gradient(gradient: Tensor, rows: WeightRows, in_features: int, dtype: torch.dtype) -> Tensor:
    """Return the gradient (N, I) of the input, in `dtype`, given the gradient (N, O) of the output."""
    grad_input = gradient.new_zeros(len(gradient), in_features, dtype=dtype)
    for block in _blocks(grad_input, gradient.shape[1]):
        grad_input.addmm_(gradient[:, block].to(dtype), rows(block).to(dtype))
    return grad_input


def add_weight_gradient_(total: Tensor, gradient: Tensor, x: Tensor, dtype: torch.dtype) -> None:
    """Add the gradient of the weight, `gradient` (N, O) times `x` (N, I), to `total` (O, I) in place."""
    x = x.to(dtype)
    for block in _blocks(x, len(total)):
        total[block] += gradient[:, block].t().to(dtype) @ x


def _blocks(x: Tensor, out_features: int) -> Iterator[slice]:
    """Yield slices of a weight's rows; on a GPU, a single slice."""
    step = max(64, _BLOCK_NUMEL // x.shape[1] // 64 * 64) if x.device.type == "cpu" else out_features
    for start in range(0, out_features, max(1, step)):
        yield slice(start, min(out_features, start + step))


class MixedPrecisionLinear(torch.autograd.Function):
    """A linear layer computed in another dtype than that of its weight.

    The converted weight is not saved for the backward pass. The result is not a view, so that callers can
    add to it in place.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, result: torch.dtype, dtype: torch.dtype
    ) -> Tensor:
        """Return (N, O) in the dtype `result` for `x` (N, I), computed in `dtype`."""
        x = x.to(result)  # rounds as autocast does; without autocast, `x` has this dtype
        ctx.save_for_backward(x, weight)
        ctx.dtype, ctx.result = dtype, result
        out = matmul_blockwise(x, row_converter(weight, result), len(weight), dtype)
        if bias is not None:
            out += bias
        return out.to(result)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            rows = row_converter(weight, ctx.result)
            grad_x = input_gradient(gradient, rows, x.shape[-1], ctx.dtype).to(ctx.result)
        if ctx.needs_input_grad[1]:
            grad_weight = torch.zeros_like(weight)
            add_weight_gradient_(grad_weight, gradient, x, ctx.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = gradient.sum(0, dtype=ctx.dtype)
        return grad_x, grad_weight, grad_bias, None, None


def row_converter(weight: Tensor, dtype: torch.dtype) -> WeightRows:
    """Return the rows of a weight (O, I), rounded to a dtype as autocast does."""
    return lambda block: weight[block].to(dtype)
