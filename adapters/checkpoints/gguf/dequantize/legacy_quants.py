"""Dequantize blocks of 32 weights to float32 with torch operators.

Each function takes `raw`, uint8 of shape (blocks, bytes per block), and `out`, float32 of shape (blocks,
weights per block), and returns a step that fills `out` from the current content of `raw`. A step processes a
few thousand weights, so views and buffers are created only once.

The product of a scale and a quantized value is exact in float32, so results are exact except for the rounding
of the last sum, in any order of evaluation.

Source: the block structs in ggml's `ggml-common.h`; results equal `gguf.quants.dequantize`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

DequantizeStep: TypeAlias = Callable[[], object]
"""Fills `out` from the current content of `raw`."""


def unquantized(raw: "Tensor", out: "Tensor", dtype: str) -> DequantizeStep:
    """Prepare conversion from a torch dtype."""
    import torch

    stored = raw.view(getattr(torch, dtype))
    return lambda: out.copy_(stored)


def q8_0(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q8_0: a float16 scale, then 32 int8 values."""
    import torch

    scale, quantized = BlockScales(raw, 0), raw.view(torch.int8)[:, 2:]

    def step() -> None:
        out.copy_(quantized).mul_(scale())

    return step


def q4_0(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q4_0: a scale, then 4-bit values with an offset of 8."""
    scale, nibbles = BlockScales(raw, 0), Nibbles(raw, 2)
    low, high = out[:, :16], out[:, 16:]

    def step() -> None:
        low.copy_(nibbles.low())
        high.copy_(nibbles.high())
        out.sub_(8).mul_(scale())

    return step


def q4_1(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q4_1: a scale, a minimum, then 4-bit values."""
    scale, floor, nibbles = BlockScales(raw, 0), BlockScales(raw, 2), Nibbles(raw, 4)
    low, high = out[:, :16], out[:, 16:]

    def step() -> None:
        low.copy_(nibbles.low())
        high.copy_(nibbles.high())
        out.mul_(scale()).add_(floor())

    return step


def q5_0(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q5_0: a scale, the fifth bits, then the low four bits; values have an offset of 16."""
    scale, quantized = BlockScales(raw, 0), _five_bits(raw, 2)

    def step() -> None:
        out.copy_(quantized()).sub_(16).mul_(scale())

    return step


def q5_1(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q5_1: a scale, a minimum, the fifth bits, then the low four bits."""
    scale, floor, quantized = BlockScales(raw, 0), BlockScales(raw, 2), _five_bits(raw, 4)

    def step() -> None:
        out.copy_(quantized()).mul_(scale()).add_(floor())

    return step


# The E2M1 values (1 sign, 2 exponent and 1 mantissa bit), multiplied by 2.
FP4_VALUES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)


def mxfp4(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare MXFP4: an E8M0 scale, then E2M1 values (Rouhani et al. 2023, arXiv:2310.10537)."""
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
        return self.widened.copy_(self.stored)


class Nibbles:
    """The low and high four bits of each byte of a block, from byte `start` to the end."""

    def __init__(self, raw: "Tensor", start: int) -> None:
        import torch

        # Masking whole blocks, including bytes before `start`, is one long loop instead of many short ones.
        self.raw = raw
        self.masked, self.shifted = torch.empty_like(raw), torch.empty_like(raw)
        self.lows, self.highs = self.masked[:, start:], self.shifted[:, start:]
        self.mask, self.shift = raw.new_tensor(0x0F), raw.new_tensor(4)

    def low(self) -> "Tensor":
        import torch

        torch.bitwise_and(self.raw, self.mask, out=self.masked)
        return self.lows

    def high(self) -> "Tensor":
        import torch

        torch.bitwise_right_shift(self.raw, self.shift, out=self.shifted)
        return self.highs


def _five_bits(raw: "Tensor", at: int) -> Callable[[], "Tensor"]:
    """Prepare reading 32 five-bit values: four bytes of fifth bits, then 16 bytes with the low bits."""
    import torch

    nibbles = Nibbles(raw, at + 4)
    fifths, numbers = raw[:, at : at + 4], raw.new_empty(len(raw), 32)
    low, high = numbers[:, :16], numbers[:, 16:]
    index = torch.empty(len(raw), 4, dtype=torch.int32)
    bits = torch.empty(len(raw) * 4, dtype=torch.int64)
    bit_bytes = bits.view(torch.uint8).view(-1, 32)
    # Maps a byte to its bits in the fifth bits of eight bytes, starting at the lowest bit.
    spread = torch.tensor([sum((byte >> bit & 1) << 8 * bit + 4 for bit in range(8)) for byte in range(256)])

    def read() -> "Tensor":
        low.copy_(nibbles.low())
        high.copy_(nibbles.high())
        torch.index_select(spread, 0, index.copy_(fifths).view(-1), out=bits)
        return numbers.bitwise_or_(bit_bytes)

    return read
