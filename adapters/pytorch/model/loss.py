"""The loss of next tokens, a few rows of logits at a time.

Logits are the largest thing in training: a row of them is as long as the vocabulary. What is written here in
closed form is the gradient of a cross-entropy, softmax minus one at the target.

N tokens, V vocabulary, D width.
"""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from litgpt.adapters.pytorch.lora.module_hook import current_parameter
from litgpt.adapters.pytorch.ops.blockwise_matmul import (
    add_weight_gradient_,
    input_gradient,
    matmul_blockwise,
    row_converter,
)
from litgpt.adapters.pytorch.ops.linear import Linear, matmul_dtype
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.memory.estimate import LOGITS_CHUNK

IGNORE_INDEX = -100
"""A target that is not counted, as in torch."""

Reduction: TypeAlias = Literal["mean", "sum"]
"""As in torch: the mean over the targets that are counted, or their sum."""


def shift_labels(target_ids: Tensor) -> Tensor:
    """Return what should follow each token, (B, T): the targets one step ahead, and none for the last."""
    return functional.pad(target_ids[:, 1:], (0, 1), value=IGNORE_INDEX)


def cross_entropy(logits: Tensor, targets: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Return the cross-entropy, in float32, without a float32 copy of the logits.

    Args:
        logits: (N, V), in any dtype.
        targets: (N,); -100 is not counted.
        reduction: `mean` or `sum`; a sum over no targets is 0.

    Raises:
        BadArgument: The mean is wanted and no target counts.

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
    """Return the cross-entropy, in float32, of what a head makes of `hidden`.

    The logits of a few rows exist at a time, and their gradients are taken at once, so memory does not grow
    with the vocabulary. A head that is more than a linear layer is computed whole.

    Args:
        hidden: (N, D), what the head reads.
        head: (…, D) to (…, V).
        targets: (N,), on any device; -100 is not counted.
        scale: Multiplies the logits.
        softcap: Squashes them into plus and minus this, afterwards.
        reduction: `mean` or `sum`; a sum over no targets is 0.

    Raises:
        BadArgument: The mean is wanted and no target counts.

    """
    targets = targets.to(hidden.device)  # layers on several devices end on another than the first
    if type(head) is Linear and not head._forward_hooks:  # noqa: SLF001 - torch has no public question for it
        loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            hidden,
            current_parameter(head, "weight"),
            current_parameter(head, "bias"),
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
    """Return what the sum of all targets' losses is divided by: 1, or the number of targets that count."""
    if reduction == "sum":
        return torch.ones((), device=targets.device)
    if reduction != "mean":
        raise InvalidArgument("reduction", reduction, "'mean' or 'sum'")
    count = (targets != IGNORE_INDEX).sum()
    if not count:
        raise InvalidArgument(
            "target_ids",
            "all of them -100",
            "such that something is to be learned: at least one target after the first",
        )
    return count


def _blocks(rows: int, vocab_size: int) -> Iterator[slice]:
    step = max(1, LOGITS_CHUNK // vocab_size)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def _nll(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithm of each row's sum, and the sum of what its targets cost, both in float32."""
    sums = logits.logsumexp(-1)
    hit = logits.gather(-1, targets.clamp(min=0)[:, None])[:, 0]
    return sums, (sums - hit).masked_fill(targets == IGNORE_INDEX, 0).sum()


def _gradient_(logits: Tensor, sums: Tensor, targets: Tensor) -> Tensor:
    """Turn logits in float32 into the gradient of what their targets cost, in their place."""
    gradient = logits.sub_(sums[:, None]).exp_()
    hits = targets.clamp(min=0)[:, None]
    gradient.scatter_add_(-1, hits, torch.full_like(hits, -1, dtype=gradient.dtype))
    return gradient.masked_fill_((targets == IGNORE_INDEX)[:, None], 0)


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, divisor: Tensor) -> Tensor:
        sums = torch.empty(len(targets), device=logits.device)
        total = torch.zeros((), device=logits.device)
        for rows in _blocks(*logits.shape):
            sums[rows], cost = _nll(logits[rows].float(), targets[rows])
            total += cost
        ctx.save_for_backward(logits, targets, sums, divisor)
        return total / divisor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, sums, divisor = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        factor = upstream / divisor
        for rows in _blocks(*logits.shape):
            block = logits[rows].to(torch.float32, copy=True)
            gradient[rows] = _gradient_(block, sums[rows], targets[rows]).mul_(factor)
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
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        # The weight's gradient is a sum over all blocks, and float16 has not the range for it.
        exact = torch.float32 if weight.dtype == torch.float16 else weight.dtype
        wanted = ctx.needs_input_grad[:3]
        of_hidden = torch.empty_like(hidden) if wanted[0] else None
        of_weight = torch.zeros_like(weight, dtype=exact) if wanted[1] else None
        of_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and wanted[2] else None
        total = torch.zeros((), device=hidden.device)
        with torch.autocast(kind, enabled=False):
            # Where a CPU has no instructions for the dtype, the head is converted to float32, block by block.
            work = matmul_dtype(dtype) if kind == "cpu" else dtype
            head = row_converter(weight if work != dtype else weight.to(dtype), dtype)
            shift = None if bias is None else bias.to(dtype)
            for rows in _blocks(len(hidden), len(weight)):
                read = hidden[rows].to(dtype)
                logits = matmul_blockwise(read, head, len(weight), work).float()
                logits = logits if shift is None else logits.add_(shift)
                logits = logits if scale is None else logits.mul_(scale)
                logits = logits if cap is None else logits.div_(cap).tanh_().mul_(cap)
                sums, cost = _nll(logits, targets[rows])
                total += cost
                if not any(wanted):
                    continue
                slope = None if cap is None else (logits / cap).square_().neg_().add_(1)
                gradient = _gradient_(logits, sums, targets[rows])
                gradient = gradient if slope is None else gradient.mul_(slope)
                gradient = gradient if scale is None else gradient.mul_(scale)
                if of_bias is not None:
                    of_bias += gradient.sum(0)
                gradient = gradient.to(work)
                if of_hidden is not None:
                    of_hidden[rows] = input_gradient(gradient, head, weight.shape[1], work)
                if of_weight is not None and exact == work:
                    of_weight.addmm_(gradient.t(), read.to(work))
                elif of_weight is not None:
                    add_weight_gradient_(of_weight, gradient, read, work)
        ctx.found, ctx.dtypes = (of_hidden, of_weight, of_bias), (hidden.dtype, weight.dtype, weight.dtype)
        ctx.save_for_backward(divisor)
        return total / divisor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (divisor,) = ctx.saved_tensors  # complains if it is asked a second time: the gradients are gone then
        factor = upstream / divisor
        found, ctx.found = ctx.found, None
        gradients = (
            None if one is None else one.mul_(factor).to(dtype)
            for one, dtype in zip(found, ctx.dtypes, strict=True)
        )
        return (*gradients, None, None, None, None)
