"""Packed weights have the values of their source, and are quantized as the gguf package does."""

from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.structures import Format, SourceFormat
from litgpt.domain.errors import UnsupportedOperation
from tests.adapters.native.weight_blocks import FROM_FLOATS

BLOCKS = {
    Format.Q8: (SourceFormat.Q8_0, gguf.GGMLQuantizationType.Q8_0),
    Format.Q4: (SourceFormat.Q4_0, gguf.GGMLQuantizationType.Q4_0),
    Format.Q4M: (SourceFormat.Q4_1, gguf.GGMLQuantizationType.Q4_1),
}
SHAPES = ((1, 32), (7, 64), (17, 576), (48, 32))


def random_weight(rows: int, cols: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(rows * 1000 + cols)
    weight = rng.standard_normal((rows, cols)) * rng.choice([1e-3, 1.0, 30.0], (rows, 1))
    weight[:, :32] = np.round(weight[:, :32] * 4) / 4 + 0.0  # values halfway between two steps, and zeros
    weight[rows // 2] = 0.0
    rows_f32: NDArray[np.float32] = weight.astype(np.float32)
    return rows_f32


def pack(weight_format: Format, source: SourceFormat, rows: NDArray[Any], cols: int) -> PackedMatrix:
    matrix = PackedMatrix.zeros(weight_format, len(rows), cols)
    matrix.pack(source, rows)
    return matrix


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight_format", BLOCKS)
def test_blocks_of_gguf_files_keep_their_values(weight_format: Format, shape: tuple[int, int]) -> None:
    source, kind = BLOCKS[weight_format]
    blocks = gguf.quantize(random_weight(*shape), kind)
    values = gguf.dequantize(blocks, kind)
    assert np.array_equal(pack(weight_format, source, blocks, shape[1]).unpack(), values)
    assert np.array_equal(pack(Format.F32, source, blocks, shape[1]).unpack(), values)
    assert np.array_equal(pack(Format.BF16, source, blocks, shape[1]).unpack(), to_bf16(values))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weight_format", BLOCKS)
def test_float_rows_are_quantized_as_by_the_gguf_package(
    weight_format: Format, shape: tuple[int, int]
) -> None:
    source, kind = BLOCKS[weight_format]
    weight = random_weight(*shape)
    expected = pack(weight_format, source, gguf.quantize(weight, kind), shape[1])
    assert np.array_equal(pack(weight_format, SourceFormat.F32, weight, shape[1]).data, expected.data)


@pytest.mark.parametrize("value", [-128, -127, 0, 127])
def test_blocks_at_the_ends_of_the_range_keep_their_values(value: int) -> None:
    block = np.concatenate(
        [np.array([2.0], np.float16).view(np.uint8), np.full(32, value, np.int8).view(np.uint8)]
    )
    assert (pack(Format.Q8, SourceFormat.Q8_0, block[None], 32).unpack() == 2.0 * value).all()


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    bits = values.view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) << 16
    return np.where(np.isnan(values), values, rounded.view(np.float32)).astype(np.float32)


def all_f16() -> NDArray[np.float16]:
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(16, -1)


def test_every_float16_is_packed_and_unpacked() -> None:
    values = all_f16()
    with np.errstate(invalid="ignore"):  # on ARM, to convert a signaling NaN is an invalid operation
        expected = values.astype(np.float32)
    for weight_format in (Format.F16, Format.F32):
        matrix = pack(weight_format, SourceFormat.F16, values, values.shape[1])
        assert np.array_equal(matrix.unpack(), expected, equal_nan=True)


def test_every_bfloat16_is_packed_and_unpacked() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16).reshape(16, -1)
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    for weight_format in (Format.BF16, Format.F32):
        matrix = pack(weight_format, SourceFormat.BF16, bits, bits.shape[1])
        assert np.array_equal(matrix.unpack(), values, equal_nan=True)


def test_float32_is_rounded_to_the_nearest_even_16_bit_value() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1 << 32, (16, 512), dtype=np.uint32).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        halves = all_f16().astype(np.float32)
        between = ((halves[:, :-1] + halves[:, 1:]) / 2).astype(np.float32)  # ties
        for weight in (values, halves, between):
            cols = weight.shape[1]
            f16 = pack(Format.F16, SourceFormat.F32, weight, cols).unpack()
            assert np.array_equal(f16, weight.astype(np.float16).astype(np.float32), equal_nan=True)
            bf16 = pack(Format.BF16, SourceFormat.F32, weight, cols).unpack()
            assert np.array_equal(bf16, to_bf16(weight), equal_nan=True)


@pytest.mark.parametrize("weight_format", FROM_FLOATS)
def test_rows_packed_in_pieces_are_those_packed_at_once(weight_format: Format) -> None:
    weight = random_weight(37, 45)
    pieces = PackedMatrix.zeros(weight_format, *weight.shape)
    for first, last in ((20, 37), (0, 3), (3, 16), (16, 20)):
        pieces.pack(SourceFormat.F32, weight[first:last], first)
    whole = pack(weight_format, SourceFormat.F32, weight, 45)
    assert np.array_equal(pieces.data, whole.data)
    assert np.array_equal(pieces.unpack(5, 20), whole.unpack()[5:25])


@pytest.mark.parametrize("weight_format", [*BLOCKS, Format.BF16, Format.F32])
def test_whole_tiles_are_packed_as_their_rows_are(weight_format: Format) -> None:
    rows: NDArray[Any] = random_weight(37, 96)
    source = SourceFormat.F32
    if weight_format in BLOCKS:
        source, kind = BLOCKS[weight_format]
        rows = gguf.quantize(rows, kind)
    elif weight_format is Format.BF16:
        source, rows = SourceFormat.BF16, (rows.view(np.uint32) >> 16).astype(np.uint16)
    one_by_one = PackedMatrix.zeros(weight_format, 37, 96)
    for number, row in enumerate(rows):
        one_by_one.pack(source, row[None], number)
    assert np.array_equal(pack(weight_format, source, rows, 96).data, one_by_one.data)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e38])
@pytest.mark.parametrize("weight_format", BLOCKS)
def test_weights_without_a_scale_are_not_quantized(weight_format: Format, value: float) -> None:
    weight = random_weight(3, 64)
    weight[1, 40] = value
    with pytest.raises(UnsupportedOperation, match="cannot be quantized"):
        pack(weight_format, SourceFormat.F32, weight, 64)


def test_formats_with_scales_in_steps_take_their_own_blocks_alone() -> None:
    blocks = gguf.quantize(random_weight(2, 256), gguf.GGMLQuantizationType.Q8_0)
    for weight_format in set(Format) - set(FROM_FLOATS):
        with pytest.raises(UnsupportedOperation, match="cannot be packed"):
            pack(weight_format, SourceFormat.Q8_0, blocks, 256)


@pytest.mark.parametrize("weight_format", [Format.Q4K, Format.Q5K, Format.Q6K])
def test_k_quants_have_whole_superblocks(weight_format: Format) -> None:
    with pytest.raises(UnsupportedOperation, match="not a multiple of 256"):
        PackedMatrix.zeros(weight_format, 16, 288)
