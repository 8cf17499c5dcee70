"""Next-token cross-entropy, computed in blocks of rows so that the logits are never materialized at once.

The backward pass uses the closed form of the gradient: softmax(logits) - one_hot(target).

Shapes: N tokens, V vocabulary size, D hidden size.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from litgpt.adapters.pytorch.ops.blockwise_matmul import (
    add_weight_gradient_,
    input_gradient,
    matmul_blockwise,
    row_converter,
)
from litgpt.adapters.pytorch.ops.linear import Linear, effective_parameter, matmul_dtype
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.memory.estimate import LOGITS_CHUNK

IGNORE_INDEX = -100
"""The target that is ignored, as in torch."""

Reduction: TypeAlias = Literal["mean", "sum"]
"""As in torch: the mean over the targets that are not ignored, or the sum."""


def shift_labels(target_ids: Tensor) -> Tensor:
    """Shift targets (B, T) one step to the left; the last one becomes -100."""
    return functional.pad(target_ids[:, 1:], (0, 1), value=IGNORE_INDEX)


def cross_entropy(logits: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the cross-entropy of `logits` (N, V), in float32, without a float32 copy of them.

    `targets` is (N,), where -100 is ignored; the sum is 0 if all targets are ignored.

    Raises:
        InvalidArgument: `reduction` is `mean` and all targets are ignored.
    """
    divisor = _divisor(targets, reduction)
    loss: Tensor = _CrossEntropy.apply(logits, targets, divisor)  # type: ignore[no-untyped-call]
    return loss


def linear_cross_entropy(
    hidden: Tensor,
    head: nn.Module,
    targets: Tensor,
    *,
    scale: float | None = None,
    softcap: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return the cross-entropy of the logits of `hidden` (N, D), in float32; targets as in `cross_entropy`.

    Logits and their gradients are computed for a block of rows at a time, so that memory does not grow with
    N * V. The logits of a head that is not a plain linear layer are computed all at once. They are multiplied
    by `scale`, and then become `softcap * tanh(logit / softcap)`.
    """
    targets = targets.to(hidden.device)  # the head may be on another device than the embedding
    if type(head) is Linear and not head._forward_hooks:  # noqa: SLF001 - torch has no public API for this
        loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden,
            effective_parameter(head, "weight"),
            effective_parameter(head, "bias"),
            targets,
            _divisor(targets, reduction),
            scale,
            softcap,
        )
        return loss
    logits = head(hidden)
    if scale is not None:
        logits = logits * scale
    if softcap is not None:
        logits = (logits / softcap).tanh() * softcap
    return cross_entropy(logits, targets, reduction)


def _divisor(targets: Tensor, reduction: Reduction) -> Tensor:
    """Return the divisor of the summed loss: 1, or the number of targets that are not ignored."""
    if reduction == "sum":
        return torch.ones((), device=targets.device)
    if reduction != "mean":
        raise InvalidArgument("reduction", reduction, "'mean' or 'sum'")
    count = (targets != IGNORE_INDEX).sum()
    if not count:
        expected = "targets of which at least one after the first token is not -100"
        raise InvalidArgument("target_ids", "-100 everywhere", expected)
    return count


def _blocks(rows: int, vocab_size: int) -> Iterator[slice]:
    step = max(1, LOGITS_CHUNK // vocab_size)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def _nll(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logsumexp of each row, and the sum of the negative log-likelihoods, both in float32."""
    logsumexp = logits.logsumexp(-1)
    target_logits = logits.gather(-1, targets.clamp(min=0)[:, None])[:, 0]
    return logsumexp, (logsumexp - target_logits).masked_fill(targets == IGNORE_INDEX, 0).sum()


def _gradient_(logits: Tensor, logsumexp: Tensor, targets: Tensor) -> Tensor:
    """Replace float32 logits by the gradient of the summed loss, in place."""
    gradient = logits.sub_(logsumexp[:, None]).exp_()
    index = targets.clamp(min=0)[:, None]
    gradient.scatter_add_(-1, index, torch.full_like(index, -1, dtype=gradient.dtype))
    return gradient.masked_fill_((targets == IGNORE_INDEX)[:, None], 0)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, divisor: Tensor) -> Tensor:
        logsumexp = torch.empty(len(targets), device=logits.device)
        total = torch.zeros((), device=logits.device)
        for rows in _blocks(*logits.shape):
            logsumexp[rows], nll = _nll(logits[rows].float(), targets[rows])
            total += nll
        ctx.save_for_backward(logits, targets, logsumexp, divisor)
        return total / divisor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, logsumexp, divisor = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        factor = upstream / divisor
        for rows in _blocks(*logits.shape):
            block = logits[rows].to(torch.float32, copy=True)
            gradient[rows] = _gradient_(block, logsumexp[rows], targets[rows]).mul_(factor)
        return gradient, None, None


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        divisor: Tensor,
        scale: float | None,
        cap: float | None,
    ) -> Tensor:
        device_type = hidden.device.type
        dtype = (
            torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else weight.dtype
        )
        # The weight's gradient is accumulated over all blocks, which may overflow float16.
        accumulate_dtype = torch.float32 if weight.dtype == torch.float16 else weight.dtype
        needs_grad = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if needs_grad[0] else None
        grad_weight = torch.zeros_like(weight, dtype=accumulate_dtype) if needs_grad[1] else None
        grad_bias = (
            torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs_grad[2] else None
        )
        total = torch.zeros((), device=hidden.device)
        with torch.autocast(device_type, enabled=False):
            # If the CPU does not support the dtype natively, the head is converted to float32 in blocks.
            compute_dtype = matmul_dtype(dtype) if device_type == "cpu" else dtype
            head = row_converter(weight if compute_dtype != dtype else weight.to(dtype), dtype)
            head_bias = None if bias is None else bias.to(dtype)
            for rows in _blocks(len(hidden), len(weight)):
                x = hidden[rows].to(dtype)
                logits = matmul_blockwise(x, head, len(weight), compute_dtype).float()
                logits = logits if head_bias is None else logits.add_(head_bias)
                logits = logits if scale is None else logits.mul_(scale)
                logits = logits if cap is None else logits.div_(cap).tanh_().mul_(cap)
                logsumexp, nll = _nll(logits, targets[rows])
                total += nll
                if not any(needs_grad):
                    continue
                softcap_grad = None if cap is None else (logits / cap).square_().neg_().add_(1)
                gradient = _gradient_(logits, logsumexp, targets[rows])
                gradient = gradient if softcap_grad is None else gradient.mul_(softcap_grad)
                gradient = gradient if scale is None else gradient.mul_(scale)
                if grad_bias is not None:
                    grad_bias += gradient.sum(0)
                gradient = gradient.to(compute_dtype)
                if grad_hidden is not None:
                    grad_hidden[rows] = input_gradient(gradient, head, weight.shape[1], compute_dtype)
                if grad_weight is not None and accumulate_dtype == compute_dtype:
                    grad_weight.addmm_(gradient.t(), x.to(compute_dtype))
                elif grad_weight is not None:
                    add_weight_gradient_(grad_weight, gradient, x, compute_dtype)
        ctx.gradients = (grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = (hidden.dtype, weight.dtype, weight.dtype)
        ctx.save_for_backward(divisor)
        return total / divisor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (divisor,) = ctx.saved_tensors  # raises on a second backward pass, when the gradients are released
        factor = upstream / divisor
        stored, ctx.gradients = ctx.gradients, None
        gradients = (
            None if gradient is None else gradient.mul_(factor).to(dtype)
            for gradient, dtype in zip(stored, ctx.dtypes, strict=True)
        )
        return (*gradients, None, None, None, None)
