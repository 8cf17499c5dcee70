"""Rewrite blocks of GGUF's quantization types as those that the engine packs.

Each function takes rows of blocks as bytes and returns rows of blocks with the same values; only the scales
of Q4_K are rounded, from a product of a float16 and a 6-bit integer to a float16.

Source: the block structs in ggml's `ggml-common.h`.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.structures import Format, SourceFormat

Bytes: TypeAlias = NDArray[np.uint8]

# The E2M1 values (1 sign, 2 exponent and 1 mantissa bit), multiplied by 2.
_FP4_VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)

_MXFP4_BIAS = 128  # of an exponent, for values that are multiplied by 2
_SMALLEST, _LARGEST = -24, 15  # the exponents of powers of 2 in float16


def q4_0_as_q8_0(rows: Bytes) -> Bytes:
    """Rewrite a scale and 4-bit values with an offset of 8."""
    blocks = _blocks(rows, 18)
    return _q8_0(blocks[..., :2], _nibbles(blocks[..., 2:]).view(np.int8) - np.int8(8))


def q5_0_as_q8_0(rows: Bytes) -> Bytes:
    """Rewrite a scale, the fifth bits and the low four bits; values have an offset of 16."""
    blocks = _blocks(rows, 22)
    fifths = np.unpackbits(blocks[..., 2:6], axis=-1, bitorder="little") << 4
    return _q8_0(blocks[..., :2], (_nibbles(blocks[..., 6:]) | fifths).view(np.int8) - np.int8(16))


def mxfp4_as_q8_0(rows: Bytes) -> Bytes:
    """Rewrite an exponent and E2M1 values.

    Exponents beyond those of float16, which weights do not have, are clipped and the values rounded.
    """
    blocks = _blocks(rows, 17)
    exponents = blocks[..., :1].astype(np.int32) - _MXFP4_BIAS
    quantized = _FP4_VALUES[_nibbles(blocks[..., 1:])]
    inside = exponents.clip(_SMALLEST, _LARGEST)
    if (inside != exponents).any():
        shifted = np.ldexp(quantized.astype(np.float32), exponents - inside)
        quantized = np.rint(shifted).clip(-127, 127).astype(np.int8)
    return _q8_0(np.ldexp(np.float32(1), inside).astype("<f2").view(np.uint8), quantized)


def q4_k_as_q4_1(rows: Bytes) -> Bytes:
    """Rewrite superblocks of eight groups.

    Each group has a 6-bit multiplier of the scale of the superblock, and one of its minimum.
    """
    blocks = _blocks(rows, 144)
    halves = np.ascontiguousarray(blocks[..., :4]).view("<f2").astype(np.float32)
    first, second, last = blocks[..., 4:8], blocks[..., 8:12], blocks[..., 12:16]
    scales = np.concatenate([first & 63, (last & 15) | (first >> 6 << 4)], axis=-1)
    minimums = np.concatenate([second & 63, (last >> 4) | (second >> 6 << 4)], axis=-1)
    # 32 bytes hold two groups: the low four bits of all bytes, then the high ones.
    pairs = blocks[..., 16:].reshape(*blocks.shape[:-1], 4, 1, 32)
    values = (pairs >> np.array([[0], [4]], np.uint8)) & 15
    values = values.reshape(*blocks.shape[:-1], 8, 2, 16)
    out = np.empty((*blocks.shape[:-1], 8, 20), np.uint8)
    factors = np.stack([halves[..., :1] * scales, -halves[..., 1:] * minimums], axis=-1)
    out[..., :4] = factors.astype("<f2").view(np.uint8)
    out[..., 4:] = values[..., 0, :] | values[..., 1, :] << 4
    return out.reshape(len(rows), -1)


REWRITERS: dict[tuple[str, Format], tuple[SourceFormat, Callable[[Bytes], Bytes]]] = {
    ("Q4_0", Format.Q8): (SourceFormat.Q8_0, q4_0_as_q8_0),
    ("Q5_0", Format.Q8): (SourceFormat.Q8_0, q5_0_as_q8_0),
    ("MXFP4", Format.Q8): (SourceFormat.Q8_0, mxfp4_as_q8_0),
    ("Q4_K", Format.Q4M): (SourceFormat.Q4_1, q4_k_as_q4_1),
}
"""The functions by the storage format and the format of the packed matrix."""


def _blocks(rows: Bytes, size: int) -> Bytes:
    return rows.reshape(len(rows), -1, size)


def _nibbles(packed: Bytes) -> Bytes:
    """Return the low four bits of all bytes of a block, then the high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _q8_0(scales: Bytes, quantized: NDArray[np.int8]) -> Bytes:
    blocks = np.concatenate([scales, quantized.view(np.uint8)], axis=-1)
    return blocks.reshape(len(blocks), -1)
