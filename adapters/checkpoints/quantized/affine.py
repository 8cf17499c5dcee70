"""Weights of the form (code - zero) x scale, with a scale and a zero point per group of inputs."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING

import attrs

from litgpt.adapters.checkpoints.quantized.quant_format import Shape
from litgpt.domain.weights.raw_tensor import RawRows, RawTensor

if TYPE_CHECKING:
    import torch

BLOCK = 32
"""The columns of a block of the formats in which engines compute."""

CENTERED_BITS, CENTER = 8, 128
"""Codes of this size can be signed instead, if their zero points are all in the middle."""


@attrs.frozen(eq=False)
class CodedRows:
    """Some rows of a weight.

    Attributes:
        rows: Which rows of the weight they are.
        codes: Integers of shape (rows, in), which may be overwritten.
        zeros: Integers of shape (rows, groups).
        scales: Floats of shape (rows, groups).
    """

    rows: slice
    codes: "torch.Tensor"
    zeros: "torch.Tensor"
    scales: "torch.Tensor"


def dequantize(
    shape: Shape, pieces: Iterable[CodedRows], dtype: "torch.dtype", group: "torch.Tensor | None" = None
) -> "torch.Tensor":
    """Return a weight (out, in); `group` is the group of each input, None if groups are consecutive."""
    import torch

    weight = torch.empty(shape, dtype=dtype)
    for piece in pieces:
        zeros, scales = piece.zeros, piece.scales.float()
        if group is None:
            codes = piece.codes.unflatten(1, (zeros.shape[1], -1))
            weight[piece.rows] = codes.sub_(zeros.unsqueeze(2)).float().mul_(scales.unsqueeze(2)).flatten(1)
        else:
            weight[piece.rows] = piece.codes.sub_(zeros[:, group]).float().mul_(scales[:, group])
    return weight


def consecutive_groups(inputs: int, groups: int) -> "torch.Tensor":
    """Return the group of each input, if all groups but the last have the same size."""
    import torch

    return torch.arange(inputs) // -(-inputs // groups)


def as_blocks(
    shape: Shape, scales: "torch.Tensor", pieces: Callable[[], Iterable[CodedRows]], *, bits: int
) -> RawTensor | None:
    """Return a weight with consecutive groups as rows of blocks.

    Codes of up to 4 bits become `Q4Z`, and codes of 8 bits, whose zero points have to be 128, `Q8_0`. Returns
    None if a block would have several groups, or a scale (groups, out) is not a float16 number.
    """
    outputs, inputs = shape
    if inputs % (len(scales) * BLOCK) or not bool((scales.half().float() == scales.float()).all()):
        return None
    storage_format, size = ("Q8_0", 2 + BLOCK) if bits == CENTERED_BITS else ("Q4Z", 3 + BLOCK // 2)

    @cache
    def read() -> memoryview:
        import torch

        blocks = torch.empty((outputs, inputs // BLOCK, size), dtype=torch.uint8)
        per_group = blocks.shape[1] // len(scales)
        for piece in pieces():
            part, codes = blocks[piece.rows], piece.codes.to(torch.uint8).unflatten(1, (-1, BLOCK))
            half = piece.scales.half().repeat_interleave(per_group, dim=1)
            part[..., :2] = half.view(torch.uint8).unflatten(1, (-1, 2))
            if bits == CENTERED_BITS:
                part[..., 2:] = codes ^ CENTER
            else:
                part[..., 2] = piece.zeros.to(torch.uint8).repeat_interleave(per_group, dim=1)
                part[..., 3:] = codes[..., : BLOCK // 2] | codes[..., BLOCK // 2 :] << 4
        return blocks.numpy().data.toreadonly()

    return RawTensor(shape, (RawRows(storage_format, read, range(outputs)),))
