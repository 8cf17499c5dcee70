"""From a tensor's place in a file to a tensor of torch: mapped where that will do, else converted."""

from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from mmap import ACCESS_COPY, mmap
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.gguf import blocks, superblocks
from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.domain.errors import DamagedFile
from litgpt.domain.tensors import DType

if TYPE_CHECKING:
    from torch import Tensor

# Weights converted at once. The work stays in the processor's cache, and below the 32768 numbers from which
# torch would spread each of the many short steps over threads, which costs more than it gains.
STEP = 32_767

DEQUANTISE: dict[str, Callable[["Tensor", "Tensor"], blocks.Step]] = {
    "F32": partial(blocks.as_it_is, dtype="float32"),
    "F16": partial(blocks.as_it_is, dtype="float16"),
    "BF16": partial(blocks.as_it_is, dtype="bfloat16"),
    "Q8_0": blocks.q8_0,
    "Q4_0": blocks.q4_0,
    "Q4_1": blocks.q4_1,
    "Q5_0": blocks.q5_0,
    "Q5_1": blocks.q5_1,
    "Q2_K": superblocks.q2_k,
    "Q3_K": superblocks.q3_k,
    "Q4_K": superblocks.q4_k,
    "Q5_K": superblocks.q5_k,
    "Q6_K": superblocks.q6_k,
}
"""How each format of `formats.FORMATS` is read, by its name."""


@attrs.frozen
class Place:
    """Where one tensor of a Hugging Face checkpoint is in a GGUF file, and what GGUF did to it.

    Attributes:
        tensor: Where it is.
        heads: The heads whose rows GGUF interleaved, pairing the two halves of each; None if it did not.
        added: What GGUF added to every number.

    """

    tensor: StoredTensor
    heads: int | None = None
    added: float = 0.0

    @property
    def untouched(self) -> bool:
        """Whether the file has it as Hugging Face has it."""
        return self.heads is None and not self.added


def map_file(tensor: StoredTensor) -> mmap:
    """Map the file that a tensor is in. What is written to the mapping stays in memory.

    Raises:
        DamagedFile: The file is not what it was when its header was read.

    """
    with tensor.file.open() as file:
        return mmap(file.fileno(), 0, access=ACCESS_COPY)


def mapped(tensor: StoredTensor, mapping: mmap) -> "Tensor":
    """Return a tensor whose numbers are the mapped file's; it keeps the mapping alive."""
    import torch

    dtype = getattr(torch, str(tensor.format.dtype))
    flat = torch.frombuffer(mapping, dtype=dtype, count=prod(tensor.shape), offset=tensor.start)
    return flat.view(tensor.shape)


def converted(place: Place, dtype: DType) -> "Tensor":
    """Return a tensor in `dtype`, worked out in float32 and rounded once.

    Besides the tensor itself this takes a few hundred kilobytes, unless a single row is longer than `STEP`.
    The file is read, not mapped, so its pages do not count as this process's memory.

    Raises:
        DamagedFile: The file does not hold what its header promised.

    """
    import torch

    stored_as, file = place.tensor.format, place.tensor.file
    out = torch.empty(place.tensor.shape, dtype=getattr(torch, dtype))
    largest = next(_pieces(out, place.heads)).numel()
    raw, numbers = bytearray(largest // stored_as.weights * stored_as.nbytes), torch.empty(largest)
    packed = torch.frombuffer(raw, dtype=torch.uint8).view(-1, stored_as.nbytes)
    step = DEQUANTISE[stored_as.name](packed, numbers.view(-1, stored_as.weights))
    with file.open() as source:
        source.seek(place.tensor.start)
        for piece in _pieces(out, place.heads):
            # The last piece may be smaller: then what the step makes of old bytes is left out.
            used = piece.numel() // stored_as.weights * stored_as.nbytes
            if source.readinto(memoryview(raw)[:used]) != used:
                raise DamagedFile(str(file.path), f"it ends within the tensor {place.tensor.name!r}.")
            step()
            if place.added:
                numbers.sub_(place.added)
            piece.copy_(numbers[: piece.numel()].view(piece.shape))
    return out


def _pieces(out: "Tensor", heads: int | None) -> Iterator["Tensor"]:
    """Yield parts of `out`, each of whole rows, in the order in which the file holds their numbers.

    With `heads`, the file has the first row of a head's first half, then the first of its second half, then
    the second row of each, and so on.
    """
    if out.dim() == 1:
        yield out if heads is None else out.unflatten(0, (heads, 2, -1)).transpose(1, 2)
        return
    rows = out.flatten(0, -2)
    at_once = max(1, STEP // rows.shape[1])
    if heads is None:
        yield from rows.split(at_once)
        return
    pairs = rows.unflatten(0, (heads, 2, -1)).transpose(1, 2)
    if (heads_at_once := at_once * heads // len(rows)) > 0:
        yield from pairs.split(heads_at_once)
    else:
        for head in pairs:
            yield from head.split(max(1, at_once // 2))
