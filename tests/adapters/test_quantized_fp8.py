"""Tests of FP8: every byte, every kind of scale, and invalid ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from tests.adapters.packed_weights import LAYER, Array, Pack, change, check_weights, write_packed

FP8: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3"}
WEIGHTS = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False, "strategy": "channel"}
COMPRESSED = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}},
}


def compressed(**weights: object) -> dict[str, Any]:
    return {**COMPRESSED, "config_groups": {"group_0": {"weights": {**WEIGHTS, **weights}}}}


def e4m3(byte: int) -> float:
    """Return the value of a byte: sign, four exponent bits, three mantissa bits, no infinities."""
    sign, exponent, mantissa = byte >> 7, byte >> 3 & 15, byte & 7
    number = mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
    return -number if sign else number


BYTES = np.array([byte for byte in range(256) if byte & 127 != 127])
NUMBERS = np.array([e4m3(byte) for byte in range(256)], np.float32)


def scales_of(kind: str, shape: tuple[int, ...]) -> tuple[Tensor, Array]:
    """Return a scale as it is stored, and expanded to the weight's shape."""
    random, (rows, columns) = np.random.default_rng(rows_of(shape)), shape
    match kind:
        case "one" | "one in a vector":
            scale = random.uniform(0.5, 2.0, () if kind == "one" else (1,)).astype(np.float32)
            return torch.tensor(scale), np.broadcast_to(scale, shape)
        case "rows" | "rows in a vector":
            scale = random.uniform(0.5, 2.0, (rows, 1)).astype(np.float32)
            return torch.tensor(scale if kind == "rows" else scale[:, 0]), np.broadcast_to(scale, shape)
        case "bfloat16":
            stored = torch.rand((rows, 1), generator=torch.Generator().manual_seed(1)).bfloat16()
            return stored, np.broadcast_to(stored.float().numpy(), shape)
    grid = (-(-rows // 32), -(-columns // 40))
    inside = [[(row // 32, column // 40) for column in range(columns)] for row in range(rows)]
    exponents = random.integers(100, 150, grid)
    floats = (
        random.uniform(0.5, 2.0, grid).astype(np.float32) if kind == "blocks" else 2.0 ** (exponents - 127.0)
    )
    spread = np.array([[floats[at] for at in row] for row in inside], np.float32)
    if kind == "blocks":
        return torch.tensor(floats), spread
    stored = torch.tensor(exponents, dtype=torch.uint8)
    return stored if kind == "blocks, bytes" else stored.view(torch.float8_e8m0fnu), spread


def rows_of(shape: tuple[int, ...]) -> int:
    return shape[0]


def pack_fp8(kind: str, scale_name: str) -> Pack:
    def pack(name: str, weight: Array) -> tuple[dict[str, Tensor], Array]:
        raw = np.random.default_rng(weight.size).choice(BYTES, weight.shape).astype(np.uint8)
        scale, spread = scales_of(kind, weight.shape)
        parts = {name: torch.from_numpy(raw).view(torch.float8_e4m3fn), f"{name}{scale_name}": scale}
        parts[f"{name.removesuffix('weight')}input_scale"] = torch.ones(1)
        return parts, NUMBERS[raw] * spread

    return pack


BLOCKS = {**FP8, "weight_block_size": [32, 40]}

PACKED: dict[str, tuple[Pack, dict[str, Any]]] = {
    "deepseek": (pack_fp8("blocks", "_scale_inv"), BLOCKS),
    "scales that are exponents": (pack_fp8("blocks, floats", "_scale_inv"), {**BLOCKS, "scale_fmt": "ue8m0"}),
    "scales that are bytes": (pack_fp8("blocks, bytes", "_scale_inv"), BLOCKS),
    "one scale": (pack_fp8("one", "_scale_inv"), {**FP8, "weight_block_size": None}),
    "one scale, blocks unsaid": (pack_fp8("one in a vector", "_scale"), FP8),
    "fbgemm": (pack_fp8("rows", "_scale"), {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}),
    "fbgemm, a vector": (pack_fp8("rows in a vector", "_scale"), {"quant_method": "fbgemm_fp8"}),
    "compressed-tensors, rows": (pack_fp8("bfloat16", "_scale"), COMPRESSED),
    "compressed-tensors, and keys and values": (
        pack_fp8("rows", "_scale"),
        {**COMPRESSED, "config_groups": {"group_0": {"weights": WEIGHTS}, "group_1": {"weights": None}}},
    ),
    "compressed-tensors, one": (pack_fp8("one in a vector", "_scale"), compressed(strategy="tensor")),
    "compressed-tensors, blocks": (
        pack_fp8("blocks", "_scale"),
        compressed(strategy="block", block_structure=[32, 40]),
    ),
}


@pytest.mark.parametrize("at_once", [2**24, 100])
@pytest.mark.parametrize(("pack", "settings"), PACKED.values(), ids=PACKED)
def test_weights_are_their_floats_times_their_scales(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Pack, settings: dict[str, Any], at_once: int
) -> None:
    monkeypatch.setattr("litgpt.adapters.checkpoints.quantized.bit_packing.CHUNK_NUMEL", at_once)
    expected = write_packed(tmp_path / "packed", pack, settings)
    check_weights(tmp_path / "packed", expected)
    checkpoint = open_hf_folder(tmp_path / "packed", "tiny")
    assert checkpoint.tensors[f"{LAYER}.weight"].storage_format == "F8_E4M3"
    assert checkpoint.notes == (
        "the weights are quantized to FP8; an engine without this format dequantizes them.",
    )


@pytest.mark.parametrize("shape", [(4, 1, 1), (4, 1, 56), (4, 3, 3)])
def test_a_stack_of_experts_has_scales_for_each(tmp_path: Path, shape: tuple[int, ...]) -> None:
    weight = torch.randn((4, 70, 56), generator=torch.Generator().manual_seed(0)).to(torch.float8_e4m3fn)
    scale = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    spread = (
        scale if 1 in shape[-2:] else scale.repeat_interleave(32, 1).repeat_interleave(20, 2)[:, :70, :56]
    )
    settings = {**FP8, "weight_block_size": [32, 20]}
    extra = {"experts": weight, "experts_scale_inv": scale}
    write_packed(tmp_path / "packed", pack_fp8("one", "_scale_inv"), settings, more=extra)
    read = open_hf_folder(tmp_path / "packed", "tiny").read("experts")
    assert torch.equal(read, weight.float() * spread)


def test_a_scale_that_is_missing_is_named(tmp_path: Path) -> None:
    pack, settings = PACKED["deepseek"]
    write_packed(tmp_path / "packed", pack, settings)
    change(tmp_path / "packed", settings, f"{LAYER}.weight_scale_inv", None)
    with pytest.raises(CorruptFile, match=rf"{LAYER}\.weight_scale.*missing"):
        open_hf_folder(tmp_path / "packed", "tiny")


def test_a_scale_that_fits_no_blocks_is_named(tmp_path: Path) -> None:
    pack, settings = PACKED["deepseek"]
    write_packed(tmp_path / "packed", pack, settings)
    for wrong in (torch.ones(3, 2), torch.ones(2), torch.ones(2, 2, dtype=torch.int32)):
        change(tmp_path / "packed", settings, f"{LAYER}.weight_scale_inv", wrong)
        with pytest.raises(CorruptFile, match=rf"{LAYER}\.weight_scale_inv"):
            open_hf_folder(tmp_path / "packed", "tiny")


def test_integers_with_a_scale_are_not_floats(tmp_path: Path) -> None:
    pack, settings = PACKED["deepseek"]
    write_packed(tmp_path / "packed", pack, settings)
    change(tmp_path / "packed", settings, f"{LAYER}.weight", torch.zeros(48, 80, dtype=torch.int8))
    with pytest.raises(CorruptFile, match=rf"{LAYER}\.weight is stored as I8"):
        open_hf_folder(tmp_path / "packed", "tiny")


REFUSED: dict[str, dict[str, Any]] = {
    "weight_block_size = [128]": {**FP8, "weight_block_size": [128]},
    "weight_block_size = [0, 128]": {**FP8, "weight_block_size": [0, 128]},
    "scale_fmt = 'e5m3'": {**FP8, "scale_fmt": "e5m3"},
    "expert_dtype = 'fp4'": {**FP8, "expert_dtype": "fp4"},
    "format = 'pack-quantized'": {**COMPRESSED, "format": "pack-quantized"},
    "sparsity_config = ": {**COMPRESSED, "sparsity_config": {"format": "sparse-24-bitmask"}},
    "transform_config = ": {**COMPRESSED, "transform_config": {"config_groups": {"a": {}}}},
    "config_groups = None": {**COMPRESSED, "config_groups": None},
    "does not quantize weights": {**COMPRESSED, "config_groups": {"group_0": {"weights": None}}},
    "config_groups.group_0 = ": {**COMPRESSED, "config_groups": {"group_0": {"weights": 8}}},
    "config_groups.group_0.format = ": {
        **COMPRESSED,
        "config_groups": {"group_0": {"format": "int-quantized", "weights": WEIGHTS}},
    },
    "config_groups.group_0.weights.num_bits = 4": compressed(num_bits=4),
    "config_groups.group_0.weights.type = 'int'": compressed(type="int"),
    "config_groups.group_0.weights.symmetric = False": compressed(symmetric=False),
    "config_groups.group_0.weights.strategy = 'group'": compressed(strategy="group"),
    "config_groups.group_0.weights.strategy = 'block'": compressed(strategy="block"),
    "has several block sizes": {
        **COMPRESSED,
        "config_groups": {
            name: {"weights": {**WEIGHTS, "strategy": "block", "block_structure": [size, size]}}
            for name, size in (("a", 64), ("b", 128))
        },
    },
}


@pytest.mark.parametrize(("message", "settings"), REFUSED.items(), ids=REFUSED)
def test_a_setting_that_is_not_implemented_is_named(
    tmp_path: Path, message: str, settings: dict[str, Any]
) -> None:
    write_packed(tmp_path / "packed", pack_fp8("one", "_scale"), settings)
    with pytest.raises(UnsupportedModel) as caught:
        open_hf_folder(tmp_path / "packed", "tiny")
    assert message in str(caught.value)
    assert repr(settings["quant_method"]) in str(caught.value)


def test_blocks_larger_than_the_weight_take_no_more_memory_than_it(tmp_path: Path) -> None:
    weight = torch.randn((70, 56), generator=torch.Generator().manual_seed(0)).to(torch.float8_e4m3fn)
    extra = {"more": weight, "more_scale_inv": torch.full((1, 1), 2.0)}
    settings = {**FP8, "weight_block_size": [2**24, 2**24]}
    write_packed(tmp_path / "packed", pack_fp8("one", "_scale_inv"), settings, more=extra)
    assert torch.equal(open_hf_folder(tmp_path / "packed", "tiny").read("more"), weight.float() * 2)
