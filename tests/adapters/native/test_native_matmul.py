"""Matrix products of the native engine against numpy, with each instruction set that this processor runs."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from litgpt.adapters.native.library import instruction_set, load_library
from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.structures import Format, SourceFormat
from tests.adapters.native.weight_blocks import (
    OWN_SOURCES,
    SCALES,
    block_columns,
    random_blocks,
    random_matrix,
)

Floats = NDArray[np.float32]

ROWS = (1, 7, 17)
COLS = (1, 31, 33, 576)
VARIABLE = "LITGPT_NATIVE_ISA"


def is_selected(name: str) -> bool:
    return instruction_set() == name


@pytest.fixture
def instruction_sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Selects one instruction set after the other."""

    def select() -> Iterator[str]:
        for name in ("portable", "avx2", "avx512", "avx512vnni", "amx", "neon"):
            monkeypatch.setenv(VARIABLE, name)
            if is_selected(name):
                yield name

    return select()


def random_rows(rng: np.random.Generator, count: int, cols: int) -> Floats:
    sizes = rng.choice([1e-3, 1.0, 30.0], (count, 1))
    rows: Floats = (rng.standard_normal((count, cols)) * sizes).astype(np.float32)
    return rows


def in_groups(x: Floats) -> Floats:
    padded = np.zeros((len(x), -(-x.shape[1] // 32) * 32), np.float32)
    padded[:, : x.shape[1]] = x
    return padded.reshape(len(x), -1, 32)


def quantized(x: Floats) -> NDArray[np.float64]:
    """Return the input of a product with 8 bits for all values but outliers."""
    with np.errstate(over="ignore"):  # squares of such inputs are infinite in the kernels too
        mean_square = np.square(x).sum(axis=-1) / np.float32(x.shape[1])
        outliers = in_groups(np.where(x * x > 9 * mean_square[:, None], x, 0))
    groups = in_groups(x) - outliers
    largest = np.abs(groups).max(axis=-1, keepdims=True)
    inverse = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
    values = np.rint(groups * inverse).astype(np.float64) * (largest / np.float32(127)) + outliers
    kept: NDArray[np.float64] = values.reshape(len(x), -1)[:, : x.shape[1]]
    return kept


def rounded_to_bf16(x: Floats) -> Floats:
    bits = x.view(np.uint32)
    return (((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) << 16).view(np.float32)


def as_multiplied(weight_format: Format, x: Floats, name: str) -> NDArray[np.float64]:
    if weight_format in OWN_SOURCES:
        return quantized(x)
    if weight_format == Format.BF16 and name in ("avx512vnni", "amx"):
        return rounded_to_bf16(x).astype(np.float64)
    return x.astype(np.float64)


@pytest.mark.parametrize("weight_format", list(Format))
def test_products_of_odd_shapes_are_numpys(weight_format: Format, instruction_sets: Iterator[str]) -> None:
    names = []
    for name in instruction_sets:
        names.append(name)
        rng = np.random.default_rng(0)
        for rows in ROWS:
            for cols in COLS:
                matrix = random_matrix(rng, weight_format, rows, cols)
                weight = matrix.unpack().astype(np.float64).T
                for tokens in (*range(1, 10), 16, 37):
                    x = random_rows(rng, tokens, matrix.cols)
                    x[:, rng.random(matrix.cols) < 0.05] *= 50  # outliers
                    used = as_multiplied(weight_format, x, name)
                    error = np.abs(matrix.matmul(x) - used @ weight)
                    assert (error <= 1e-6 * (np.abs(used) @ np.abs(weight))).all(), (name, rows, cols, tokens)
    assert "portable" in names


def extreme_blocks(rng: np.random.Generator, source: SourceFormat, cols: int) -> NDArray[np.uint8]:
    """Return rows of powers of two as scales, with codes at both ends of their range."""
    rows = 33
    count = rows * cols // block_columns(source)
    blocks = random_blocks(rng, source, rows, cols).reshape(count, -1)
    first = count // rows
    blocks[:first], blocks[-first:, ::2] = 0, 0xFF
    blocks[first : 2 * first] = 0xFF
    if source is SourceFormat.Q8_0:
        blocks[:first] = 0x80  # -128
        blocks[first : 2 * first] = 0x7F
    for at in SCALES.get(source, ()):
        blocks[:, at : at + 2] = np.array([0.5], np.float16).view(np.uint8)
    if source is SourceFormat.MXFP4:
        blocks[:, 0] = 127
    if source is SourceFormat.Q4Z:
        blocks[:, 2] %= 17
    return blocks.reshape(rows, -1)


@pytest.mark.parametrize("weight_format", OWN_SOURCES)
def test_integer_products_do_not_overflow_at_the_ends_of_the_range(
    weight_format: Format, instruction_sets: Iterator[str]
) -> None:
    rng = np.random.default_rng(1)
    source = OWN_SOURCES[weight_format]
    blocks = extreme_blocks(rng, source, cols := 256)
    matrix = PackedMatrix.zeros(weight_format, len(blocks), cols)
    matrix.pack(source, blocks)
    x = rng.integers(-127, 128, (9, cols)).astype(np.float32)
    x[:, ::32] = 127  # so that each scale is 1
    x[0], x[1], x[2, 1::2] = 127, -127, -127
    weight = matrix.unpack().astype(np.float64).T
    for name in instruction_sets:
        # A sum that overflows 16 bits is off by more than 0.1 of the largest.
        error = np.abs(matrix.matmul(x) - x @ weight)
        assert (error <= 1e-6 * (np.abs(x) @ np.abs(weight))).all(), name


@pytest.mark.parametrize("weight_format", list(Format))
def test_a_token_has_the_same_bits_in_any_batch(
    weight_format: Format, instruction_sets: Iterator[str]
) -> None:
    rng = np.random.default_rng(2)
    matrix = random_matrix(rng, weight_format, 100, 100)
    x = random_rows(rng, 50, matrix.cols)
    library = load_library()
    threads = library.litgpt_threads()
    for name in instruction_sets:
        together = matrix.matmul(x)
        for token in range(len(x)):
            alone = matrix.matmul(x[token : token + 1])
            assert np.array_equal(alone[0], together[token]), (name, token)
        try:
            for count in (1, 2, 3):
                assert library.litgpt_set_threads(count) == 0
                assert np.array_equal(matrix.matmul(x), together), (name, count)
        finally:
            library.litgpt_set_threads(threads)


@pytest.mark.parametrize("weight_format", list(Format))
def test_inputs_of_any_size_are_multiplied(weight_format: Format, instruction_sets: Iterator[str]) -> None:
    rng = np.random.default_rng(3)
    matrix = random_matrix(rng, weight_format, 17, 64)
    weight = matrix.unpack().astype(np.float64).T
    x = rng.standard_normal((4, matrix.cols))
    for name in instruction_sets:
        for size in (0.0, 1e-30, 1e-10, 1e10, 1e30):
            scaled = (x * size).astype(np.float32)
            expected = as_multiplied(weight_format, scaled, name) @ weight
            assert np.allclose(matrix.matmul(scaled), expected, rtol=1e-4, atol=1e-5 * size), (name, size)
        # Below what 8 bits can scale, inputs may count as zero.
        tiny = (x * 1e-40).astype(np.float32)
        assert (np.abs(matrix.matmul(tiny)) <= 1e-37).all(), name


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weight_format", list(Format))
def test_a_value_that_is_not_finite_spoils_its_token_alone(
    weight_format: Format, value: float, instruction_sets: Iterator[str]
) -> None:
    rng = np.random.default_rng(4)
    matrix = random_matrix(rng, weight_format, 17, 64)
    x = rng.standard_normal((5, matrix.cols)).astype(np.float32)
    for name in instruction_sets:
        clean = matrix.matmul(x)
        for column in (0, 5, 63):
            spoiled = x.copy()
            spoiled[2, column] = value
            y = matrix.matmul(spoiled)
            assert not np.isfinite(y[2]).any(), name
            others = [0, 1, 3, 4]
            assert np.array_equal(y[others], clean[others]), name
