"""Read and dequantize tensors of GGUF files, in Hugging Face's layout."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.gguf.dequantize import k_quants, legacy_quants
from litgpt.adapters.checkpoints.gguf.dequantize.strided_view import StridedView
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor
from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.tensor_info import DType, TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

# Weights converted at once: below 32768 elements, from which torch uses several threads per operation. The
# synchronization of threads at each operation takes several times longer on a busy machine.
STEP = 32_767

# Tensors of this size belong to models with billions of weights, which a single thread would convert for ten
# seconds or more. Larger steps use several threads; on two idle cores this takes 40 % of the time.
LARGE, LARGE_STEP = 1 << 25, 1 << 20

DEQUANTIZERS: dict[str, Callable[["Tensor", "Tensor"], legacy_quants.DequantizeStep]] = {
    "F32": partial(legacy_quants.unquantized, dtype="float32"),
    "F16": partial(legacy_quants.unquantized, dtype="float16"),
    "BF16": partial(legacy_quants.unquantized, dtype="bfloat16"),
    "Q8_0": legacy_quants.q8_0,
    "Q4_0": legacy_quants.q4_0,
    "Q4_1": legacy_quants.q4_1,
    "Q5_0": legacy_quants.q5_0,
    "Q5_1": legacy_quants.q5_1,
    "MXFP4": legacy_quants.mxfp4,
    "Q2_K": k_quants.q2_k,
    "Q3_K": k_quants.q3_k,
    "Q4_K": k_quants.q4_k,
    "Q5_K": k_quants.q5_k,
    "Q6_K": k_quants.q6_k,
}
"""The dequantization function of each type in `QUANT_TYPES`, by name."""


@attrs.frozen
class TensorChunk:
    """A contiguous part of a GGUF file, and its place in a Hugging Face tensor.

    `view` has the elements that it fills, in file order; None means the whole tensor in memory order.
    """

    tensor: GgufTensor
    view: StridedView | None = None

    def row_numbers(self, shape: tuple[int, ...], *, transposed: bool) -> Sequence[int] | None:
        """Return the rows of a Hugging Face tensor that the part consists of; None if it divides rows.

        With `transposed`, the last two dimensions of the tensor are swapped.
        """
        length = shape[-2] if transposed else shape[-1] if shape else 1
        if length % self.tensor.quant_type.block_size:
            return None
        if transposed:
            return None if self.view is None else self.view.column_numbers(length, shape[-1])
        if self.view is None:
            return range(prod(self.tensor.shape) // length)
        return self.view.row_numbers(length)


@attrs.frozen
class TensorPlan:
    """How a Hugging Face tensor is read from a GGUF file.

    Attributes:
        shape: The shape of the Hugging Face tensor.
        chunks: Its parts, which cover each element once.
        offset: The offset that GGUF adds to each element.
        exponential: Whether GGUF stores -exp(x).
    """

    shape: tuple[int, ...]
    chunks: tuple[TensorChunk, ...]
    offset: float = 0.0
    exponential: bool = False

    @property
    def numel(self) -> int:
        """The total number of elements in the chunks, which equals that of `shape` for a complete plan."""
        return sum(prod(part.tensor.shape) for part in self.chunks)

    @property
    def is_unchanged(self) -> bool:
        """Whether the file stores the tensor in Hugging Face's form."""
        return len(self.chunks) == 1 and self.chunks[0].view is None and not (self.offset or self.exponential)

    @property
    def info(self) -> TensorInfo:
        stored_as = "+".join(dict.fromkeys(part.tensor.quant_type.name for part in self.chunks))
        return TensorInfo(self.shape, stored_as, sum(part.tensor.nbytes for part in self.chunks))


def dequantize(plan: TensorPlan, dtype: DType) -> "Tensor":
    """Return a tensor in `dtype`, computed in float32 and rounded once.

    Besides the tensor, this needs a few hundred kilobytes, or a few megabytes for large tensors, unless
    a row is longer than a step. The file is read, not mapped, so its pages do not count as memory of the
    process.
    """
    import torch

    out = torch.empty(plan.shape, dtype=getattr(torch, dtype))
    for part in plan.chunks:
        view = part.view
        target = out if view is None else out.as_strided(view.sizes, view.strides, view.offset)
        _fill(target, part.tensor, plan)
    return out


def _fill(out: "Tensor", tensor: GgufTensor, plan: TensorPlan) -> None:
    """Fill a tensor in file order with the dequantized values, reverting GGUF's changes."""
    import torch

    quant_type = tensor.quant_type
    step = LARGE_STEP if out.numel() >= LARGE else STEP
    pieces = [*_chunks(out, max(step, tensor.shape[-1]))]
    largest = pieces[0].numel()
    raw = bytearray(largest // quant_type.block_size * quant_type.block_bytes)
    numbers = torch.empty(largest)
    packed = torch.frombuffer(raw, dtype=torch.uint8).view(-1, quant_type.block_bytes)
    dequantize_step = DEQUANTIZERS[quant_type.name](packed, numbers.view(-1, quant_type.block_size))
    # Pieces have one or two sizes. A smaller piece ignores the results of the old bytes at the end.
    views = {
        shape: (
            memoryview(raw)[: shape.numel() // quant_type.block_size * quant_type.block_bytes],
            numbers[: shape.numel()].view(shape),
        )
        for shape in {piece.shape for piece in pieces}
    }
    with tensor.file.open() as source:
        source.seek(tensor.start)
        for piece in pieces:
            buffer, values = views[piece.shape]
            if source.readinto(buffer) != len(buffer):
                raise CorruptFile(str(tensor.file.path), f"it ends within the tensor {tensor.name!r}.")
            dequantize_step()
            if plan.offset:
                values.sub_(plan.offset)
            if plan.exponential:
                values.neg_().log_()
            piece.copy_(values)


def _chunks(out: "Tensor", max_numel: int) -> Iterator["Tensor"]:
    """Yield rows of `out` in order, at most `max_numel` elements each; the first part is the largest."""
    if out.is_contiguous() and out.dim() > 1:
        out = out.flatten(0, -2)
    if out.numel() <= max_numel:
        yield out
    elif (row_numel := out[0].numel()) <= max_numel:
        yield from out.split(max_numel // row_numel)
    else:
        for row in out:
            yield from _chunks(row, max_numel)
