"""Random blocks of the formats in which weights are stored."""

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.matrix import PackedMatrix, source_row_bytes
from litgpt.adapters.native.structures import Format, SourceFormat
from tests.contracts.raw_tensors import dequantize_rows

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

OWN_SOURCES = {
    Format.Q8: SourceFormat.Q8_0,
    Format.Q4: SourceFormat.Q4_0,
    Format.Q4M: SourceFormat.Q4_1,
    Format.Q4Z: SourceFormat.Q4Z,
    Format.Q5: SourceFormat.Q5_0,
    Format.Q5M: SourceFormat.Q5_1,
    Format.FP4: SourceFormat.MXFP4,
    Format.Q4K: SourceFormat.Q4_K,
    Format.Q5K: SourceFormat.Q5_K,
    Format.Q6K: SourceFormat.Q6_K,
}
"""The block format with the bits of each quantized weight format."""

FROM_FLOATS = (Format.F32, Format.BF16, Format.F16, Format.Q8, Format.Q4, Format.Q4M)
"""The formats to which float32 weights can be converted."""

SCALES = {
    SourceFormat.Q4Z: (0,),
    SourceFormat.Q8_0: (0,),
    SourceFormat.Q4_0: (0,),
    SourceFormat.Q4_1: (0, 2),
    SourceFormat.Q5_0: (0,),
    SourceFormat.Q5_1: (0, 2),
    SourceFormat.Q2_K: (80, 82),
    SourceFormat.Q3_K: (108,),
    SourceFormat.Q4_K: (0, 2),
    SourceFormat.Q5_K: (0, 2),
    SourceFormat.Q6_K: (208,),
}
"""Where the float16 scales are in a block."""


BLOCKS = [source.name for source in SourceFormat if source > SourceFormat.F16]
"""The names of the block formats."""


def block_columns(source: SourceFormat) -> int:
    """Return the columns of a block."""
    return 256 if source.name.endswith("_K") else 32


def random_blocks(rng: np.random.Generator, source: SourceFormat, rows: int, cols: int) -> Bytes:
    """Return rows of random codes with random scales, of shape (rows, bytes of a row)."""
    count = rows * (cols // block_columns(source))
    blocks = rng.integers(0, 256, (count, source_row_bytes(source, block_columns(source))), dtype=np.uint8)
    for at in SCALES.get(source, ()):
        sizes = rng.uniform(0.5, 1.5, count) * rng.choice([1e-2, 0.1, 3.0], count)
        scales = (sizes * rng.choice([-1, 1], count)).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    if source is SourceFormat.MXFP4:
        blocks[:, 0] = rng.integers(104, 140, count)  # the exponents of float16
    if source is SourceFormat.Q4Z:
        blocks[:, 2] %= 17
    return blocks.reshape(rows, -1)


def dequantize(source: SourceFormat, blocks: Bytes) -> Floats:
    """Return the values of rows of blocks according to the gguf package and numpy."""
    return dequantize_rows(blocks, source.name)


def random_matrix(rng: np.random.Generator, weight_format: Format, rows: int, cols: int) -> PackedMatrix:
    """Return a matrix of random values; `cols` is rounded up to whole blocks if it has to be."""
    if weight_format in FROM_FLOATS:
        matrix = PackedMatrix.zeros(weight_format, rows, cols)
        sizes = rng.choice([1e-3, 1.0, 30.0], (rows, 1))
        matrix.pack(SourceFormat.F32, (rng.standard_normal((rows, cols)) * sizes).astype(np.float32))
        return matrix
    source = OWN_SOURCES[weight_format]
    whole = -(-cols // block_columns(source)) * block_columns(source)
    matrix = PackedMatrix.zeros(weight_format, rows, whole)
    matrix.pack(source, random_blocks(rng, source, rows, whole))
    return matrix
