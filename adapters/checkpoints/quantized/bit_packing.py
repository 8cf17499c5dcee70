"""Unpack integers packed into 32-bit words, starting at the lowest bits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WORD_BITS = 32
CHUNK_NUMEL = 2**24
"""The number of elements processed at once, which bounds the memory of temporary tensors."""


def row_chunks(rows: int, row: int, *, of: int = 1) -> Iterator[slice]:
    """Yield slices of rows, multiples of `of`, with at most `CHUNK_NUMEL` elements or else `of` rows."""
    step = max(1, CHUNK_NUMEL // (row * of)) * of
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def unpack_words(words: "torch.Tensor", bits: int) -> "torch.Tensor":
    """Return the integers of `bits` bits, up to 8, packed in int32 words (…, W): (…, 32 W / bits) in int32.

    3-bit values do not divide a word, so a value may start in one word and end in the next.
    """
    import torch

    mask = 2**bits - 1
    if WORD_BITS % bits == 0:
        shifts = torch.arange(0, WORD_BITS, bits, dtype=torch.int32)
        numbers: torch.Tensor = ((words.unsqueeze(-1) >> shifts) & mask).flatten(-2)
        return numbers
    starts = torch.arange(words.shape[-1] * WORD_BITS // bits) * bits
    long = torch.nn.functional.pad(words.long() & 0xFFFFFFFF, (0, 1))
    first, second = long[..., starts // WORD_BITS], long[..., starts // WORD_BITS + 1]
    numbers = ((first | (second << WORD_BITS)) >> (starts % WORD_BITS)) & mask
    return numbers.int()
