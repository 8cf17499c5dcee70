"""Tests of every GGUF quantization format, against the gguf package's own dequantization."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litgpt.adapters.checkpoints.gguf.dequantize.dequantize import (
    DEQUANTIZERS,
    LARGE,
    STEP,
    TensorChunk,
    TensorPlan,
    dequantize,
)
from litgpt.adapters.checkpoints.gguf.dequantize.strided_view import StridedView
from litgpt.adapters.checkpoints.gguf.reader.file import GgufFile
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor
from litgpt.adapters.checkpoints.gguf.reader.quant_types import (
    QUANT_TYPES,
    UNSUPPORTED_QUANT_TYPES,
    QuantType,
)
from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.tensor_info import DType

BY_NAME = {quant_type.name: quant_type for quant_type in QUANT_TYPES.values()}
DTYPES: tuple[DType, ...] = ("float32", "bfloat16", "float16")

# Where the float16 numbers of a block are; elsewhere any byte is as good as another.
HALVES = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}


def whole(tensor: GgufTensor, *, added: float = 0.0) -> TensorPlan:
    return TensorPlan(tensor.shape, (TensorChunk(tensor),), added)


def paired(tensor: GgufTensor, heads: int) -> TensorPlan:
    """Return the row order that interleaves the two halves of each head."""
    view = StridedView.full(tensor.shape).split(0, heads, 2, tensor.shape[0] // heads // 2).swap(1, 2)
    return TensorPlan(tensor.shape, (TensorChunk(tensor, view),))


def random_bytes(stored_as: QuantType, blocks: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return blocks of random bytes whose scales are finite."""
    raw = np.random.default_rng(7).integers(0, 256, (blocks, stored_as.block_bytes), dtype=np.uint8)
    raw[0], raw[1] = 0, 255
    for at in HALVES.get(stored_as.name, ()):
        high = raw[:, at + 1]
        high[(high & 0x7C) == 0x7C] ^= 0x40
    if stored_as.name == "MXFP4":
        raw[:, 0] = np.minimum(raw[:, 0], 250)  # above, the largest numbers are beyond float32
    if stored_as.dtype:
        raw = random_numbers(blocks).astype(np.float32).view(np.uint8).reshape(blocks, 4)
        raw = {"F32": raw, "BF16": raw[:, 2:], "F16": random_halves(blocks)}[stored_as.name]
    return np.ascontiguousarray(raw)


def random_numbers(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(8).standard_normal(count) * 100


def random_halves(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return random_numbers(count).astype(np.float16).view(np.uint8).reshape(count, 2)


def oracle(raw: np.ndarray[Any, Any], name: str) -> torch.Tensor:
    import gguf

    return torch.from_numpy(gguf.dequantize(raw, gguf.GGMLQuantizationType[name]).astype(np.float32))


def stored(
    path: Path, raw: bytes, shape: tuple[int, ...], stored_as: QuantType, before: int = 32
) -> GgufTensor:
    path.write_bytes(bytes(before) + raw)
    return GgufTensor(GgufFile(path, before + len(raw)), "w", shape, stored_as, before)


def test_the_numbers_names_and_sizes_of_formats_are_those_of_ggml() -> None:
    import gguf

    sizes = gguf.constants.GGML_QUANT_SIZES
    reference = {int(number): (number.name, *size) for number, size in sizes.items()}
    actual = {
        number: (quant_type.name, quant_type.block_size, quant_type.block_bytes)
        for number, quant_type in QUANT_TYPES.items()
    }
    assert actual == {number: reference[number] for number in QUANT_TYPES}
    assert {
        number: name for number, (name, *_) in reference.items() if number not in QUANT_TYPES
    } == UNSUPPORTED_QUANT_TYPES
    assert set(DEQUANTIZERS) == set(BY_NAME)


@pytest.mark.parametrize("name", BY_NAME)
def test_all_bits_are_those_of_the_gguf_package(name: str) -> None:
    stored_as = BY_NAME[name]
    raw = random_bytes(stored_as, 515)
    out = torch.empty(len(raw), stored_as.block_size)
    DEQUANTIZERS[name](torch.from_numpy(raw), out)()
    expected = oracle(raw, name).view(out.shape)
    assert torch.equal(out.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("name", HALVES)
def test_nan_and_infinite_scales_are_kept(name: str) -> None:
    stored_as = BY_NAME[name]
    raw = np.random.default_rng(9).integers(0, 256, (64, stored_as.block_bytes), dtype=np.uint8)
    for at in HALVES[name]:
        raw[::2, at : at + 2] = np.array([0x00, 0x7C])
        raw[::3, at : at + 2] = np.array([0x01, 0xFE])
    out = torch.empty(len(raw), stored_as.block_size)
    DEQUANTIZERS[name](torch.from_numpy(raw), out)()
    with np.errstate(invalid="ignore"):
        expected = oracle(raw, name).view(out.shape)
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BY_NAME)
def test_a_tensor_is_rounded_once_to_the_requested_dtype(name: str, dtype: DType, tmp_path: Path) -> None:
    stored_as = BY_NAME[name]
    shape = (5, 3, 512)
    raw = random_bytes(stored_as, 5 * 3 * 512 // stored_as.block_size)
    tensor = stored(tmp_path / "w", raw.tobytes(), shape, stored_as)
    expected = oracle(raw, name).view(shape).to(getattr(torch, dtype))
    assert torch.equal(dequantize(whole(tensor), dtype), expected)


@pytest.mark.parametrize(
    ("rows", "columns"), [(3, 64), (300, 256), (2 * (STEP // 256) + 1, 256), (2, STEP + 33), (1, 4 * STEP)]
)
def test_rows_are_converted_in_steps_that_leave_no_trace(rows: int, columns: int, tmp_path: Path) -> None:
    columns -= columns % 32
    raw = random_bytes(BY_NAME["Q4_1"], rows * columns // 32)
    tensor = stored(tmp_path / "w", raw.tobytes(), (rows, columns), BY_NAME["Q4_1"])
    assert torch.equal(dequantize(whole(tensor), "float32"), oracle(raw, "Q4_1").view(rows, columns))


def test_a_large_tensor_is_put_in_order_in_larger_steps(tmp_path: Path) -> None:
    heads, size, columns = 2, 4098, LARGE // 8192
    original = (torch.arange(heads * size * columns) % 2039).half().view(heads * size, columns)
    interleaved = original.view(heads, 2, size // 2, columns).transpose(1, 2).contiguous()
    tensor = stored(tmp_path / "w", interleaved.numpy().tobytes(), tuple(original.shape), BY_NAME["F16"])
    assert original.numel() > LARGE
    assert torch.equal(dequantize(paired(tensor, heads), "float16"), original)


@pytest.mark.parametrize("heads", [1, 2, 3, 8])
@pytest.mark.parametrize("columns", [32, 320, STEP // 4, STEP - STEP % 32])
def test_rows_that_were_interleaved_come_back_in_halves(heads: int, columns: int, tmp_path: Path) -> None:
    size = 10  # five pairs: with four rows at once, the last of each head is alone
    original = torch.arange(heads * size * columns, dtype=torch.float32).view(heads * size, columns)
    interleaved = original.view(heads, 2, size // 2, columns).transpose(1, 2).contiguous()
    tensor = stored(tmp_path / "w", interleaved.numpy().tobytes(), tuple(original.shape), BY_NAME["F32"])
    assert torch.equal(dequantize(paired(tensor, heads), "float32"), original)


def test_a_bias_that_was_interleaved_comes_back_in_halves(tmp_path: Path) -> None:
    original = torch.arange(24.0)
    interleaved = original.view(3, 2, 4).transpose(1, 2).contiguous()
    tensor = stored(tmp_path / "w", interleaved.numpy().tobytes(), (24,), BY_NAME["F32"])
    assert torch.equal(dequantize(paired(tensor, 3), "float32"), original)


def test_a_unit_offset_is_subtracted_before_rounding(tmp_path: Path) -> None:
    weights = np.array([1 + 2**-10, 1 - 2**-10, 3.0], np.float32)
    tensor = stored(tmp_path / "w", weights.tobytes(), (3,), BY_NAME["F32"])
    actual = dequantize(whole(tensor, added=1.0), "bfloat16")
    assert actual.tolist() == [2**-10, -(2**-10), 2.0]  # rounded first, both small numbers would be 0


def test_a_file_that_was_cut_after_its_header_was_read_is_damaged(tmp_path: Path) -> None:
    tensor = stored(tmp_path / "w", bytes(64), (16,), BY_NAME["F32"])
    with (tmp_path / "w").open("r+b") as file:
        file.truncate(40)
    with pytest.raises(CorruptFile, match="changed since"):
        dequantize(whole(tensor), "float32")
