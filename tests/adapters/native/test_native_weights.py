"""Tests of packed weights: they have the values that torch, or the gguf package, reads."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.structures import Format, SourceFormat
from litgpt.adapters.native.weights.arrays import RecentReads
from litgpt.adapters.native.weights.formats import choose_format
from litgpt.adapters.native.weights.packing import pack_parameter, read_vector
from litgpt.adapters.pytorch.ops.tensor_views import TensorReader
from litgpt.domain.errors import CorruptFile
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.model import ParameterSpec
from litgpt.domain.ports import Checkpoint
from litgpt.domain.weights.mapping import ParameterSource, validate_mapping
from litgpt.domain.weights.raw_tensor import RawRows, RawTensor
from litgpt.domain.weights.tensor_info import TensorInfo
from litgpt.domain.weights.tensor_view import TensorView
from tests.adapters import gguf_converter as converters
from tests.adapters.gguf_files import llama_tensors, write_gguf
from tests.adapters.native.weight_blocks import BLOCKS, OWN_SOURCES, Bytes, dequantize, random_blocks
from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.contracts.raw_tensors import decode

Array = NDArray[np.float32]

FORMATS = {"float32": Format.F32, "bfloat16": Format.BF16, "float16": Format.F16}


def sources_of(checkpoint: Checkpoint[Any]) -> tuple[ParameterSource, ...]:
    architecture = parse_config("m", checkpoint.config)
    rules = family_of("m", checkpoint.config).weights
    return validate_mapping("m", architecture, rules, checkpoint.tensors)


def is_matrix(source: ParameterSource) -> bool:
    return len(source.parameter.shape) == 2


def read_by_torch(checkpoint: Checkpoint[Any]) -> dict[str, Array]:
    """Return all parameters in float32, as the torch engine reads them."""
    sources = sources_of(checkpoint)
    reader = TensorReader(checkpoint, sources)
    cpu = torch.device("cpu")
    return {
        source.parameter.name: reader.read_parameter(source, cpu, "float32").numpy() for source in sources
    }


def packed(checkpoint: Checkpoint[Any], target: Format | None = None) -> dict[str, Array]:
    """Return all parameters, packed and unpacked; by default in the format that is chosen."""
    shared = RecentReads(checkpoint)
    return {
        source.parameter.name: pack_parameter(
            shared, source, target or choose_format(checkpoint, source)
        ).unpack()
        if is_matrix(source)
        else read_vector(shared, source)
        for source in sources_of(checkpoint)
    }


def assert_equal(actual: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        assert actual[name].shape == values.shape, name
        assert actual[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    "family",
    ["llama", "gpt_neox", "falcon", "gpt2", "phi3", "mixtral", "qwen3_moe", "gpt_oss", "llama4_text"],
)
def test_a_folder_is_packed_as_it_is_stored(family: str, dtype: str) -> None:
    checkpoint = open_hf_folder(tiny_folder(family, dtype=dtype), "m")
    matrices = [source for source in sources_of(checkpoint) if is_matrix(source)]
    assert {choose_format(checkpoint, source) for source in matrices} == {FORMATS[dtype]}
    assert_equal(packed(checkpoint), read_by_torch(checkpoint))


def test_packing_needs_no_torch(smollm2_gguf: Path) -> None:
    code = f"""
import sys
from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.native.weights.formats import choose_format
from litgpt.adapters.native.weights.packing import pack_parameter, read_vector
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.weights.mapping import validate_mapping
from pathlib import Path

checkpoint = open_gguf(Path({str(smollm2_gguf)!r}), "m")
architecture, family = parse_config("m", checkpoint.config), family_of("m", checkpoint.config)
for source in validate_mapping("m", architecture, family.weights, checkpoint.tensors):
    if len(source.parameter.shape) == 1:
        read_vector(checkpoint, source)
    else:
        pack_parameter(checkpoint, source, choose_format(checkpoint, source))
print("torch" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["False"], run.stderr


def test_the_real_model_keeps_the_bits_of_its_file(smollm2_gguf: Path) -> None:
    checkpoint = open_gguf(smollm2_gguf, "smollm2")
    formats, nbytes = set(), 0
    for source in sources_of(checkpoint):
        values = np.concatenate([decode(raw) for view in source.views if (raw := checkpoint.raw(view.name))])
        if not is_matrix(source):
            assert read_vector(checkpoint, source).tobytes() == values.tobytes()
            continue
        matrix = pack_parameter(checkpoint, source, choose_format(checkpoint, source))
        assert matrix.unpack().tobytes() == values.tobytes(), source.parameter.name
        formats.add((matrix.format, source.parameter.role == "embedding"))
        nbytes += matrix.data.nbytes
    assert formats == {(Format.Q4M, False), (Format.Q8, True)}
    assert nbytes == sum(info.nbytes for info in checkpoint.tensors.values() if len(info.shape) == 2)


@pytest.mark.parametrize(
    ("stored_as", "own"),
    [
        ("F32", Format.F32),
        ("F16", Format.F16),
        ("BF16", Format.BF16),
        ("Q8_0", Format.Q8),
        ("Q4_0", Format.Q4),
        ("Q4_1", Format.Q4M),
        ("Q5_0", Format.Q5),
    ],
)
def test_rows_that_gguf_puts_in_another_order_are_packed_in_their_own_bits(
    stored_as: str, own: Format, tmp_path: Path
) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", stored_as=stored_as), "m")
    matrices = [source for source in sources_of(checkpoint) if is_matrix(source)]
    assert {choose_format(checkpoint, source) for source in matrices} == {own}
    assert_equal(packed(checkpoint), read_by_torch(checkpoint))
    assert_equal(packed(checkpoint, Format.F32), read_by_torch(checkpoint))


@pytest.mark.parametrize(
    ("family", "converter", "settings"),
    [
        ("gpt_neox", converters.Neox, {}),  # queries, keys and values are in three parts of the file
        ("qwen3_moe", converters.Qwen3Moe, {"moe_intermediate_size": 32}),
        ("gpt2", converters.Gpt2, {}),  # transposed, as the parameters are
        ("gpt_oss", converters.GptOss, {"swiglu_limit": 7.0}),
    ],
)
def test_quantized_rows_are_found_where_the_file_has_them(
    family: str, converter: type[converters.Converter], settings: dict[str, Any], tmp_path: Path
) -> None:
    tiny_model(family, hidden_size=64, intermediate_size=96, **settings).save_pretrained(tmp_path)
    checkpoint = open_gguf(converter(tmp_path).write(tmp_path / "m.gguf", "Q8_0"), "m")
    expected = read_by_torch(checkpoint)
    assert_equal(packed(checkpoint, Format.F32), expected)
    assert_equal(packed(checkpoint), expected)


@pytest.mark.parametrize(("quantize", "levels"), [("int8", 254), ("int4", 15)])
def test_quantizing_keeps_the_vocabulary_at_8_bits(quantize: Any, levels: int) -> None:
    checkpoint = open_hf_folder(tiny_folder("qwen3_moe"), "m")
    expected = read_by_torch(checkpoint)
    formats = {}
    for source in filter(is_matrix, sources_of(checkpoint)):
        name = source.parameter.name
        formats[name] = target = choose_format(checkpoint, source, "bfloat16", quantize)
        steps = {Format.BF16: 256, Format.Q8: 254}.get(target, levels)
        values = pack_parameter(checkpoint, source, target).unpack()
        error = np.abs(values - expected[name]).max()
        assert error <= 1.01 * np.ptp(expected[name]) / steps, name
    assert formats["transformer.wte.weight"] is formats["lm_head.weight"] is Format.Q8
    assert formats["transformer.h.0.mlp.gate.weight"] is Format.BF16
    assert formats["transformer.h.0.attn.qkv.weight"] is (Format.Q8 if quantize == "int8" else Format.Q4M)


def test_a_requested_dtype_or_quantization_takes_precedence_over_the_stored_bits(tmp_path: Path) -> None:
    checkpoint = open_gguf(write_gguf(tmp_path / "m.gguf", stored_as="Q4_1"), "m")
    source = next(source for source in sources_of(checkpoint) if source.parameter.name.endswith("qkv.weight"))
    embedding = sources_of(checkpoint)[0]
    expected = read_by_torch(checkpoint)[source.parameter.name]
    assert choose_format(checkpoint, source, "float16") is Format.F16
    assert choose_format(checkpoint, source, None, "int8") is Format.Q8
    assert choose_format(checkpoint, embedding, None, "int8") is Format.Q4M
    for target, steps in ((Format.F16, 2048), (Format.Q8, 254)):
        values = pack_parameter(checkpoint, source, target).unpack()
        assert np.abs(values - expected).max() <= 1.01 * np.abs(expected).max() * 2 / steps


def packed_blocks(name: str, raw: Bytes, columns: int, target: Format) -> Array:
    matrix = PackedMatrix.zeros(target, len(raw), columns)
    matrix.pack(SourceFormat[name], raw)
    return matrix.unpack()


def random_rows(name: str, rows: int, columns: int) -> Bytes:
    return random_blocks(np.random.default_rng(3), SourceFormat[name], rows, columns)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_decoded_as_by_the_gguf_package(name: str) -> None:
    raw = random_rows(name, 21, 768)
    expected = dequantize(SourceFormat[name], raw)
    assert packed_blocks(name, raw, 768, Format.F32).tobytes() == expected.tobytes()
    largest = np.abs(expected).reshape(21, -1, 32).max(axis=-1, keepdims=True)
    error = np.abs(packed_blocks(name, raw, 768, Format.Q8) - expected).reshape(21, -1, 32)
    assert (error <= largest * (1 / 254 + 1 / 2048)).all()  # the scale is rounded to 11 bits


@pytest.mark.parametrize(("own", "source"), OWN_SOURCES.items())
def test_blocks_keep_their_values_in_the_format_with_their_bits(own: Format, source: SourceFormat) -> None:
    raw = random_rows(source.name, 21, 768)
    assert packed_blocks(source.name, raw, 768, own).tobytes() == dequantize(source, raw).tobytes()
    tensor = RawTensor((21, 768), (RawRows(source.name, read_only(raw), range(21)),))
    checkpoint: Any = Stored(tensor, dequantize(source, raw))
    assert choose_format(checkpoint, view_of((21, 768))) is own


@pytest.mark.parametrize("name", ["Q4_0", "Q5_0", "Q4Z", "MXFP4"])
def test_blocks_whose_values_8_bits_have_are_converted_exactly(name: str) -> None:
    raw = random_rows(name, 5, 512)
    expected = dequantize(SourceFormat[name], raw)
    assert packed_blocks(name, raw, 512, Format.Q8).tobytes() == expected.tobytes()


def test_mxfp4_blocks_beyond_float16_are_quantized() -> None:
    blocks = np.full((1, 5, 17), 0x72, np.uint8)  # the values 1 and 6, times a power of 2
    blocks[0, :, 0] = 90, 103, 104, 143, 144
    raw = blocks.reshape(1, -1)
    actual, expected = packed_blocks("MXFP4", raw, 160, Format.Q8), dequantize(SourceFormat.MXFP4, raw)
    assert np.abs(actual - expected)[:, :64].max() < 2.0**-21
    assert actual[:, 64:128].tobytes() == expected[:, 64:128].tobytes()
    assert np.abs(actual - expected)[:, 128:].max() <= 2.0**-8 * expected.max()


@attrs.define
class Stored:
    """A checkpoint with one tensor, of which a part of the rows may be stored in another format."""

    raw_tensor: RawTensor | None
    values: Array
    origin: str = "the test"
    reads: int = 0

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        names = {part.storage_format for part in self.raw_tensor.parts} if self.raw_tensor else {"F8_E4M3"}
        return {"w": TensorInfo(self.values.shape, "+".join(sorted(names)), 0)}

    def raw(self, name: str) -> RawTensor | None:  # noqa: ARG002
        return self.raw_tensor

    def read(self, name: str, dtype: Any = None) -> torch.Tensor:  # noqa: ARG002
        self.reads += 1
        return torch.from_numpy(self.values)


def view_of(shape: tuple[int, ...], **changes: Any) -> ParameterSource:
    view = TensorView("w", shape, 0, shape[0], **changes)
    return ParameterSource(ParameterSpec("w", shape, shape[:1]), (view,))


def read_only(raw: NDArray[Any]) -> Callable[[], memoryview]:
    return lambda: memoryview(raw.tobytes())


def quantized_parts(values: Array, *names: str) -> tuple[RawTensor, Array]:
    """Return the rows of a tensor quantized in turns, and the values that they have then."""
    parts, rounded = [], np.empty_like(values)
    for number, name in enumerate(names):
        kind = gguf.GGMLQuantizationType[name]
        raw = gguf.quantize(values[number :: len(names)], kind)
        rounded[number :: len(names)] = gguf.dequantize(raw, kind)
        rows = range(number, len(values), len(names))
        parts.append(RawRows(name, read_only(raw), rows))
    return RawTensor(values.shape, tuple(parts)), rounded


def random_matrix(rows: int, columns: int) -> Array:
    return np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)


def test_parts_of_the_same_format_are_joined_row_by_row() -> None:
    raw, rounded = quantized_parts(random_matrix(51, 64), "Q4_1", "Q4_1", "Q4_1")
    checkpoint: Any = Stored(raw, rounded)
    source = view_of((51, 64))
    matrix = pack_parameter(checkpoint, source, choose_format(checkpoint, source))
    assert matrix.format is Format.Q4M
    assert matrix.unpack().tobytes() == rounded.tobytes()
    assert checkpoint.reads == 0


def test_parts_of_different_formats_are_packed_in_8_bits() -> None:
    raw, rounded = quantized_parts(random_matrix(50, 64), "Q4_1", "Q8_0")
    checkpoint: Any = Stored(raw, rounded)
    source = view_of((50, 64))
    matrix = pack_parameter(checkpoint, source, choose_format(checkpoint, source))
    assert matrix.format is Format.Q8
    assert np.abs(matrix.unpack() - rounded).max() <= np.abs(rounded).max() / 250


def test_a_tensor_that_views_share_is_read_once() -> None:
    values = random_matrix(96, 32)
    checkpoint: Any = Stored(None, values)
    view = TensorView("w", (96, 32), 0, 8, 4)
    views = tuple(attrs.evolve(view, start=8 * part, stop=8 * part + 8) for part in range(3))
    source = ParameterSource(ParameterSpec("w", (96, 32), (32, 32, 32)), views)
    assert choose_format(checkpoint, source) is Format.BF16
    matrix = pack_parameter(checkpoint, source, Format.F32)
    grouped = values.reshape(4, 3, 8, 32).swapaxes(0, 1).reshape(96, 32)
    assert matrix.unpack().tobytes() == grouped.tobytes()
    assert checkpoint.reads == 1


def test_a_tensor_of_another_shape_is_damage() -> None:
    raw, rounded = quantized_parts(random_matrix(16, 32), "Q8_0")
    for stored in (raw, None):
        checkpoint: Any = Stored(stored, rounded)
        with pytest.raises(CorruptFile, match=r"w has the shape \[16, 32\], expected \[8, 64\]"):
            pack_parameter(checkpoint, view_of((8, 64)), Format.Q8)


@pytest.mark.skipif(sys.platform != "linux", reason="smaps are Linux's")
def test_the_pages_of_the_file_are_let_go(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tensors=llama_tensors(heads=8, groups=4, size=64), stored_as="F32")
    checkpoint = open_gguf(path, "m")
    packed(checkpoint)
    lines = Path("/proc/self/smaps").read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if str(path) in line)
    resident = next(line for line in lines[at:] if line.startswith("Rss:"))
    assert int(resident.split()[1]) * 1024 < path.stat().st_size / 10
