"""Unpack integers packed into 32-bit words, starting at the lowest bits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WORD_BITS = 32
CHUNK_NUMEL = 2**24
"""The number of elements processed at once, which bounds the memory of temporary tensors."""


def row_chunks(rows: int, row: int, *, of: int = 1) -> Iterator[slice]:
    """Yield slices of rows with at most `CHUNK_NUMEL` elements, but at least `of` rows.

    Args:
        rows: The number of rows.
        row: The number of elements in a row.
        of: The slices start at multiples of this number of rows.

    """
    step = max(1, CHUNK_NUMEL // (row * of)) * of
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def unpack_words(words: "torch.Tensor", bits: int) -> "torch.Tensor":
    """Return the integers packed in 32-bit words.

    3-bit values do not divide a word, so a value may start in one word and end in the next.

    Args:
        words: (…, W) in int32, whose bits are the concatenated bits of the values.
        bits: Bits per value, up to 8.

    Returns:
        (…, 32 W / bits) in int32, each from 0 to 2 ** bits - 1.

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
