"""From a tensor's place in a file to a tensor of torch, dequantized and in Hugging Face's order."""

from collections.abc import Callable, Iterator
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

# Weights converted at once: below the 32768 numbers from which torch spreads an operation over its threads.
# Spread, the threads wait for each other at every operation, which on a busy machine takes several times
# longer.
STEP = 32_767

# A tensor of so many weights belongs to a model of billions, which one thread would convert for ten seconds
# or more: it is spread, in steps that are worth it. On two idle cores that takes two fifths of the time.
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
"""How each format of `formats.FORMATS` is read, by its name."""


@attrs.frozen
class TensorChunk:
    """Numbers of a GGUF file, and what of a Hugging Face tensor they are.

    Attributes:
        tensor: Where they are.
        view: What they fill, in the file's order; None is all of it as it lies in memory.

    """

    tensor: GgufTensor
    view: StridedView | None = None


@attrs.frozen
class TensorPlan:
    """Where one tensor of a Hugging Face checkpoint is in a GGUF file, and what GGUF did to it.

    Attributes:
        shape: Its shape in Hugging Face's checkpoint.
        chunks: What it is read from. Each of its numbers is in one of them.
        offset: What GGUF added to every number.
        exponential: Whether GGUF has minus the exponential of every number.

    """

    shape: tuple[int, ...]
    chunks: tuple[TensorChunk, ...]
    offset: float = 0.0
    exponential: bool = False

    @property
    def numel(self) -> int:
        """How many numbers the parts have together: as many as its shape, once all are found."""
        return sum(prod(part.tensor.shape) for part in self.chunks)

    @property
    def is_unchanged(self) -> bool:
        """Whether the file has it as Hugging Face has it."""
        return len(self.chunks) == 1 and self.chunks[0].view is None and not (self.offset or self.exponential)

    @property
    def info(self) -> TensorInfo:
        """What is to be said of it before it is read."""
        stored_as = "+".join(dict.fromkeys(part.tensor.quant_type.name for part in self.chunks))
        return TensorInfo(self.shape, stored_as, sum(part.tensor.nbytes for part in self.chunks))


def dequantize(plan: TensorPlan, dtype: DType) -> "Tensor":
    """Return a tensor in `dtype`, worked out in float32 and rounded once.

    Besides the tensor itself this takes a few hundred kilobytes, or a few megabytes for a large one, unless a
    single row is longer than a step. The file is read, not mapped, so its pages do not count as this
    process's memory.

    Raises:
        CorruptFile: The file does not hold what its header promised.

    """
    import torch

    out = torch.empty(plan.shape, dtype=getattr(torch, dtype))
    for part in plan.chunks:
        view = part.view
        into = out if view is None else out.as_strided(view.sizes, view.strides, view.offset)
        _fill(into, part.tensor, plan)
    return out


def _fill(out: "Tensor", tensor: GgufTensor, plan: TensorPlan) -> None:
    """Fill a tensor, whose order is the file's, with what was there before GGUF changed it."""
    import torch

    stored_as = tensor.quant_type
    step = LARGE_STEP if out.numel() >= LARGE else STEP
    pieces = [*_chunks(out, max(step, tensor.shape[-1]))]
    largest = pieces[0].numel()
    raw, numbers = bytearray(largest // stored_as.block_size * stored_as.block_bytes), torch.empty(largest)
    packed = torch.frombuffer(raw, dtype=torch.uint8).view(-1, stored_as.block_bytes)
    dequantise = DEQUANTIZERS[stored_as.name](packed, numbers.view(-1, stored_as.block_size))
    # There are pieces of one or two sizes. A smaller one leaves out what the step makes of old bytes.
    views = {
        shape: (
            memoryview(raw)[: shape.numel() // stored_as.block_size * stored_as.block_bytes],
            numbers[: shape.numel()].view(shape),
        )
        for shape in {piece.shape for piece in pieces}
    }
    with tensor.file.open() as source:
        source.seek(tensor.start)
        for piece in pieces:
            buffer, found = views[piece.shape]
            if source.readinto(buffer) != len(buffer):
                raise CorruptFile(str(tensor.file.path), f"it ends within the tensor {tensor.name!r}.")
            dequantise()
            if plan.offset:
                found.sub_(plan.offset)
            if plan.exponential:
                found.neg_().log_()
            piece.copy_(found)


def _chunks(out: "Tensor", max_numel: int) -> Iterator["Tensor"]:
    """Yield parts of `out`, in its order, none with more than `max_numel` numbers. The first is the largest.

    As `max_numel` is a row or more, each piece is whole rows.
    """
    if out.is_contiguous() and out.dim() > 1:
        out = out.flatten(0, -2)
    if out.numel() <= max_numel:
        yield out
    elif (one := out[0].numel()) <= max_numel:
        yield from out.split(max_numel // one)
    else:
        for each in out:
            yield from _chunks(each, max_numel)
