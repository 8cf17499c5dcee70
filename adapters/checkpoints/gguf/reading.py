"""From a tensor's place in a file to a tensor of torch, dequantised and in Hugging Face's order."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.gguf import blocks, superblocks
from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.domain.errors import DamagedFile
from litgpt.domain.tensors import DType

if TYPE_CHECKING:
    from torch import Tensor

# Weights converted at once: below the 32768 numbers from which torch spreads an operation over its threads.
# Spread, the threads wait for each other at every operation, which on a busy machine takes several times
# longer.
STEP = 32_767

# A tensor of so many weights belongs to a model of billions, which one thread would convert for ten seconds
# or more: it is spread, in steps that are worth it. On two idle cores that takes two fifths of the time.
LARGE, LARGE_STEP = 1 << 25, 1 << 20

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


def converted(place: Place, dtype: DType) -> "Tensor":
    """Return a tensor in `dtype`, worked out in float32 and rounded once.

    Besides the tensor itself this takes a few hundred kilobytes, or a few megabytes for a large one, unless a
    single row is longer than a step. The file is read, not mapped, so its pages do not count as this
    process's memory.

    Raises:
        DamagedFile: The file does not hold what its header promised.

    """
    import torch

    stored_as, file = place.tensor.format, place.tensor.file
    out = torch.empty(place.tensor.shape, dtype=getattr(torch, dtype))
    pieces = [*_pieces(out, place.heads, LARGE_STEP if out.numel() >= LARGE else STEP)]
    largest = pieces[0].numel()
    raw, numbers = bytearray(largest // stored_as.weights * stored_as.nbytes), torch.empty(largest)
    packed = torch.frombuffer(raw, dtype=torch.uint8).view(-1, stored_as.nbytes)
    step = DEQUANTISE[stored_as.name](packed, numbers.view(-1, stored_as.weights))
    # There are pieces of one or two sizes. A smaller one leaves out what the step makes of old bytes.
    views = {
        shape: (
            memoryview(raw)[: shape.numel() // stored_as.weights * stored_as.nbytes],
            numbers[: shape.numel()].view(shape),
        )
        for shape in {piece.shape for piece in pieces}
    }
    with file.open() as source:
        source.seek(place.tensor.start)
        for piece in pieces:
            buffer, found = views[piece.shape]
            if source.readinto(buffer) != len(buffer):
                raise DamagedFile(str(file.path), f"it ends within the tensor {place.tensor.name!r}.")
            step()
            piece.copy_(found.sub_(place.added) if place.added else found)
    return out


def _pieces(out: "Tensor", heads: int | None, step: int) -> Iterator["Tensor"]:
    """Yield parts of `out`, each of whole rows, in the order in which the file holds their numbers.

    The first is the largest. None has more than `step` numbers, unless it is a single row.

    With `heads`, the file has the first row of a head's first half, then the first of its second half, then
    the second row of each, and so on.
    """
    if out.dim() == 1:
        yield out if heads is None else out.unflatten(0, (heads, 2, -1)).transpose(1, 2)
        return
    rows = out.flatten(0, -2)
    at_once = max(1, step // rows.shape[1])
    if heads is None:
        yield from rows.split(at_once)
        return
    pairs = rows.unflatten(0, (heads, 2, -1)).transpose(1, 2)
    if (heads_at_once := at_once * heads // len(rows)) > 0:
        yield from pairs.split(heads_at_once)
    else:
        for head in pairs:
            yield from head.split(max(1, at_once // 2))
