"""What the bytes of a block mean: from blocks of 32 weights to float32, as fast as torch's own operators go.

Each function takes `raw`, uint8 of shape (blocks, bytes in a block), and `out`, float32 of shape (blocks,
weights in a block), and returns what fills `out` from whatever is in `raw` by then. A step is a few thousand
numbers, so all that can be made once, views and buffers, is made once.

Every product of a scale and a quantized number fits in float32's 24 bits, so the results are exact up to the
one rounding of the last sum, in whatever order they are worked out.

Source: the block structs in ggml's `ggml-common.h`; the numbers agree with `gguf.quants.dequantize`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

DequantizeStep: TypeAlias = Callable[[], object]
"""Fills `out` from what is in `raw` now."""


def unquantized(raw: "Tensor", out: "Tensor", dtype: str) -> DequantizeStep:
    """Prepare to read numbers that are stored in a dtype of torch."""
    import torch

    stored = raw.view(getattr(torch, dtype))
    return lambda: out.copy_(stored)


def q8_0(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare to read 8 bits a weight: a scale, then 32 signed bytes."""
    import torch

    scale, quantised = BlockScales(raw, 0), raw.view(torch.int8)[:, 2:]

    def step() -> None:
        out.copy_(quantised).mul_(scale())

    return step


def q4_0(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare to read 4 bits a weight: a scale, then numbers that count from 8."""
    scale, nibbles = BlockScales(raw, 0), Nibbles(raw, 2)
    low, high = out[:, :16], out[:, 16:]

    def step() -> None:
        low.copy_(nibbles.low())
        high.copy_(nibbles.high())
        out.sub_(8).mul_(scale())

    return step


def q4_1(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare to read 4 bits a weight: a scale, a floor, then numbers."""
    scale, floor, nibbles = BlockScales(raw, 0), BlockScales(raw, 2), Nibbles(raw, 4)
    low, high = out[:, :16], out[:, 16:]

    def step() -> None:
        low.copy_(nibbles.low())
        high.copy_(nibbles.high())
        out.mul_(scale()).add_(floor())

    return step


def q5_0(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare to read 5 bits a weight: a scale, the fifth bits, then the other four; they count from 16."""
    scale, quantised = BlockScales(raw, 0), _five_bits(raw, 2)

    def step() -> None:
        out.copy_(quantised()).sub_(16).mul_(scale())

    return step


def q5_1(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare to read 5 bits a weight: a scale, a floor, the fifth bits, then the other four."""
    scale, floor, quantised = BlockScales(raw, 0), BlockScales(raw, 2), _five_bits(raw, 4)

    def step() -> None:
        out.copy_(quantised()).mul_(scale()).add_(floor())

    return step


# The numbers of four bits (1 of sign, 2 of exponent, 1 of fraction), twice as large as they are.
FP4_VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)


def mxfp4(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare to read floating point of 4 bits a weight: the exponent of a scale, then numbers.

    Source: Rouhani et al. 2023, arXiv:2310.10537.
    """
    import torch

    nibbles = Nibbles(raw, 1)
    exponent = torch.empty(len(raw), 1, dtype=torch.int32)
    table, index = torch.tensor(FP4_VALUES, dtype=torch.float32), torch.empty(len(raw), 16, dtype=torch.int32)
    numbers = torch.empty(index.numel())
    low, high = out[:, :16], out[:, 16:]

    def step() -> None:
        exponent.copy_(raw[:, :1]).sub_(128)
        for half, read in ((low, nibbles.low), (high, nibbles.high)):
            torch.index_select(table, 0, index.copy_(read()).view(-1), out=numbers)
            half.copy_(numbers.view(-1, 16))
        out.copy_(torch.ldexp(out, exponent))

    return step


class BlockScales:
    """The float16 at a byte of each block, as float32 of shape (blocks, 1)."""

    def __init__(self, raw: "Tensor", at: int) -> None:
        import torch

        self.stored = raw[:, at : at + 2].view(torch.float16)
        self.widened = torch.empty(self.stored.shape)

    def __call__(self) -> "Tensor":
        """Return what is in `raw` now."""
        return self.widened.copy_(self.stored)


class Nibbles:
    """The low and the high four bits of each byte of a block, from a byte on to the block's end."""

    def __init__(self, raw: "Tensor", start: int) -> None:
        import torch

        # Masking whole blocks, the bytes before `start` too, is one long loop instead of a short one a block.
        self.raw = raw
        self.masked, self.shifted = torch.empty_like(raw), torch.empty_like(raw)
        self.lows, self.highs = self.masked[:, start:], self.shifted[:, start:]
        self.mask, self.shift = raw.new_tensor(0x0F), raw.new_tensor(4)

    def low(self) -> "Tensor":
        """Return the low four bits."""
        import torch

        torch.bitwise_and(self.raw, self.mask, out=self.masked)
        return self.lows

    def high(self) -> "Tensor":
        """Return the high four bits."""
        import torch

        torch.bitwise_right_shift(self.raw, self.shift, out=self.shifted)
        return self.highs


def _five_bits(raw: "Tensor", at: int) -> Callable[[], "Tensor"]:
    """Prepare to read 32 numbers of five bits: four bytes with the fifth bits, then 16 with the others."""
    import torch

    nibbles = Nibbles(raw, at + 4)
    fifths, numbers = raw[:, at : at + 4], raw.new_empty(len(raw), 32)
    low, high = numbers[:, :16], numbers[:, 16:]
    index = torch.empty(len(raw), 4, dtype=torch.int32)
    bits = torch.empty(len(raw) * 4, dtype=torch.int64)
    bit_bytes = bits.view(torch.uint8).view(-1, 32)
    # For each value of a byte, its bits in the fifth bits of eight bytes, the lowest bit first.
    spread = torch.tensor([sum((byte >> bit & 1) << 8 * bit + 4 for bit in range(8)) for byte in range(256)])

    def read() -> "Tensor":
        low.copy_(nibbles.low())
        high.copy_(nibbles.high())
        torch.index_select(spread, 0, index.copy_(fifths).view(-1), out=bits)
        return numbers.bitwise_or_(bit_bytes)

    return read
