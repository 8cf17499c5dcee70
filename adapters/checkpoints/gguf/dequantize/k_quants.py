"""Dequantize K-quants: superblocks of 256 weights, in groups with their own scales.

As in `legacy_quants`, each function prepares the step that fills `out` from `raw`.

Source: the block structs in ggml's `ggml-common.h`; results equal `gguf.quants.dequantize`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from litgpt.adapters.checkpoints.gguf.dequantize.legacy_quants import BlockScales, DequantizeStep

if TYPE_CHECKING:
    from torch import Tensor


def q2_k(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q2_K: 2-bit values, with a 4-bit scale and minimum per 16."""
    scale, floor, scales = BlockScales(raw, 80), BlockScales(raw, 82), raw[:, :16]
    quantized = BitPlanes(raw[:, 16:80], (0, 2, 4, 6), 3)
    rows, rows_read, groups = out.view(-1, 2, 4, 32), quantized.rows(32), out.view(-1, 16, 16)

    def step() -> None:
        quantized.read()
        rows.copy_(rows_read)
        groups.mul_((scale() * (scales & 0x0F)).unsqueeze(-1))
        groups.sub_((floor() * (scales >> 4)).unsqueeze(-1))

    return step


def q3_k(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q3_K: 3-bit values, with a 6-bit scale with an offset of 32 per 16.

    The third bits are stored separately; 4 is subtracted if the bit is not set.
    """
    scale, groups = BlockScales(raw, 108), out.view(-1, 16, 16)
    lower, thirds = BitPlanes(raw[:, 32:96], (0, 2, 4, 6), 3), BitPlanes(raw[:, :32], tuple(range(8)), 1)
    low_scales, high_scales = (
        BitPlanes(raw[:, 96:104], (0, 4), 0x0F),
        BitPlanes(raw[:, 104:108], (0, 2, 4, 6), 3),
    )
    lower_rows, third_rows = lower.rows(32), thirds.rows(32)
    low_read, high_read = low_scales.rows(8), high_scales.rows(4)
    scales, weights = raw.new_empty(len(raw), 16), raw.new_empty(len(raw), 256)

    def step() -> None:
        for planes in (lower, thirds, low_scales, high_scales):
            planes.read()
        scales.view(low_read.shape).copy_(low_read)
        scales.view(high_read.shape).add_(high_read, alpha=16)
        weights.view(lower_rows.shape).copy_(lower_rows)
        weights.view(third_rows.shape).add_(third_rows, alpha=4)
        out.copy_(weights).sub_(4)
        groups.mul_((scale() * scales.float().sub_(32)).unsqueeze(-1))

    return step


def q4_k(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q4_K: 4-bit values, with a 6-bit scale and minimum per 32."""
    quantized, scales_and_floors = BitPlanes(raw[:, 16:144], (0, 4), 0x0F), _six_bit_scales(raw)
    rows, rows_read, groups = out.view(-1, 4, 2, 32), quantized.rows(32), out.view(-1, 8, 32)

    def step() -> None:
        quantized.read()
        rows.copy_(rows_read)
        scales, floors = scales_and_floors()
        groups.mul_(scales).sub_(floors)

    return step


def q5_k(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q5_K: 5-bit values, a 6-bit scale and minimum per 32; the fifth bits are separate."""
    lower, fifths = BitPlanes(raw[:, 48:176], (0, 4), 0x0F), BitPlanes(raw[:, 16:48], tuple(range(8)), 1)
    scales_and_floors, groups = _six_bit_scales(raw), out.view(-1, 8, 32)
    lower_rows, fifth_rows, weights = lower.rows(32), fifths.rows(32), raw.new_empty(len(raw), 256)

    def step() -> None:
        lower.read()
        fifths.read()
        weights.view(lower_rows.shape).copy_(lower_rows)
        weights.view(fifth_rows.shape).add_(fifth_rows, alpha=16)
        out.copy_(weights)
        scales, floors = scales_and_floors()
        groups.mul_(scales).sub_(floors)

    return step


def q6_k(raw: "Tensor", out: "Tensor") -> DequantizeStep:
    """Prepare Q6_K: 6-bit values (two bits stored apart) with an offset of 32, with an 8-bit scale per 16."""
    import torch

    scale, scales, groups = BlockScales(raw, 208), raw.view(torch.int8)[:, 192:208], out.view(-1, 16, 16)
    lower, upper = BitPlanes(raw[:, :128], (0, 4), 0x0F), BitPlanes(raw[:, 128:192], (0, 2, 4, 6), 3)
    lower_rows, upper_rows, weights = lower.rows(64), upper.rows(32), raw.new_empty(len(raw), 256)

    def step() -> None:
        lower.read()
        upper.read()
        weights.view(lower_rows.shape).copy_(lower_rows)
        weights.view(upper_rows.shape).add_(upper_rows, alpha=16)
        out.copy_(weights).sub_(32)
        groups.mul_((scale() * scales).unsqueeze(-1))

    return step


class BitPlanes:
    """Bits of each byte at several shifts: from (blocks, bytes) to (shifts, blocks, bytes).

    Four bytes are shifted at once; bits shifted in from the next byte are masked.
    """

    def __init__(self, packed: "Tensor", shifts: tuple[int, ...], mask: int) -> None:
        import torch

        blocks, nbytes = packed.shape
        self.packed, self.together = packed, packed.new_empty(blocks, nbytes)
        self.words = self.together.view(torch.int32).view(1, -1)
        self.shifts = torch.tensor(shifts, dtype=torch.int32).unsqueeze(1)
        self.mask = torch.tensor(mask * 0x01010101, dtype=torch.int32)
        self.shifted = torch.empty(len(shifts), self.words.numel(), dtype=torch.int32)
        self.planes = self.shifted.view(torch.uint8).view(len(shifts), blocks, nbytes)

    def read(self) -> None:
        import torch

        self.together.copy_(self.packed)
        torch.bitwise_right_shift(self.words, self.shifts, out=self.shifted).bitwise_and_(self.mask)

    def rows(self, length: int) -> "Tensor":
        """Return a view of the planes as (blocks, runs of `length` bytes, shifts, length)."""
        shifts, blocks, nbytes = self.planes.shape
        return self.planes.view(shifts, blocks, nbytes // length, length).permute(1, 2, 0, 3)


def _six_bit_scales(raw: "Tensor") -> Callable[[], tuple["Tensor", "Tensor"]]:
    """Prepare reading a float16 scale and minimum per block, and their eight 6-bit multipliers each.

    The multipliers are packed in three 4-byte words. For groups 0 to 3 they are the low six bits of the bytes
    of the first word (scales) and the second (minimums). The upper two bits of these bytes belong to groups 4
    to 7, whose low four bits are in the third word.
    """
    import torch

    halves = raw[:, :4].view(torch.float16).unsqueeze(-1)
    own = raw[:, 4:12].view(torch.int32)
    lower = BitPlanes(raw[:, 12:16], (0, 4), 0x0F)
    rest = lower.shifted.t()
    multiples = torch.empty(len(raw), 2, 2, dtype=torch.int32)
    first, last = multiples[:, :, 0], multiples[:, :, 1]
    as_bytes = multiples.view(torch.uint8)
    scaled = torch.empty(len(raw), 2, 8)
    scales, floors = scaled[:, 0].unsqueeze(-1), scaled[:, 1].unsqueeze(-1)

    def read() -> tuple["Tensor", "Tensor"]:
        torch.bitwise_and(own, 0x3F3F3F3F, out=first)
        torch.bitwise_right_shift(own, 2, out=last).bitwise_and_(0x30303030)
        lower.read()
        last.bitwise_or_(rest)
        torch.mul(halves.float(), as_bytes, out=scaled)
        return scales, floors

    return read
