"""Small numbers packed into 32-bit words, the first in the lowest bits."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WORD_BITS = 32
CHUNK_NUMEL = 2**24
"""How many numbers are worked on at once, so that a large weight takes little more memory than its own."""


def row_chunks(rows: int, row: int, *, of: int = 1) -> Iterator[slice]:
    """Yield the rows of a matrix, as many at a time as have `AT_ONCE` numbers at most, and a few at least.

    Args:
        rows: How many there are.
        row: How many numbers one has.
        of: How many rows are never divided.

    """
    step = max(1, CHUNK_NUMEL // (row * of)) * of
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def unpack_words(words: "torch.Tensor", bits: int) -> "torch.Tensor":
    """Return the numbers in words of 32 bits.

    Three bits do not divide a word, so a number may begin in one and end in the next.

    Args:
        words: (…, W) in int32; their bits end to end are the numbers' bits end to end.
        bits: How many each number has, up to 8.

    Returns:
        (…, 32 W / bits) in int32, each from 0 up to 2 ** bits - 1.

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
