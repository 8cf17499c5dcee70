"""Tests of bitsandbytes in four bits: codes, nested scales, and the shape in the quantization state."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from tests.adapters.packed_weights import LAYER, Array, Pack, change, check_weights, write_packed

WEIGHT = f"{LAYER}.weight"
BNB: dict[str, Any] = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
}

# Sixteen numbers as good as any: a file carries its own.
NUMBERS = np.sort(np.random.default_rng(0).uniform(-1, 1, 16)).astype(np.float32)
FINE = np.sort(np.random.default_rng(1).uniform(-1, 1, 256)).astype(np.float32)


def nearest(values: Array, numbers: Array) -> Array:
    actual: Array = np.abs(values.reshape(-1, 1) - numbers).argmin(1)
    return actual


def pack_bnb(kind: str = "nf4", *, block: int = 64, nested: bool = False, storage: Any = torch.uint8) -> Pack:
    """Pack as bitsandbytes's serializer: two codes per byte, the first in the high bits."""

    def pack(name: str, weight: Array) -> tuple[dict[str, Tensor], Array]:
        flat = weight.reshape(-1)
        blocks = [flat[at : at + block] for at in range(0, len(flat), block)]
        absmax = np.array([np.abs(block).max() for block in blocks], np.float32)
        state: dict[str, Any] = {
            "quant_type": kind,
            "blocksize": block,
            "dtype": "bfloat16",
            "shape": [*weight.shape],
        }
        parts = {}
        if nested:
            mean = np.float32(absmax.mean())
            groups = [absmax[at : at + 16] - mean for at in range(0, len(absmax), 16)]
            largest = np.array([np.abs(group).max() for group in groups], np.float32)
            scales = [nearest(group / size, FINE) for group, size in zip(groups, largest, strict=True)]
            absmax = np.concatenate(
                [FINE[scale] * size for scale, size in zip(scales, largest, strict=True)]
            ) + np.float32(mean)
            state |= {"nested_blocksize": 16, "nested_offset": float(mean), "nested_dtype": "float32"}
            parts["absmax"] = torch.tensor(np.concatenate(scales), dtype=torch.uint8)
            parts["nested_absmax"] = torch.from_numpy(largest)
            parts["nested_quant_map"] = torch.tensor(FINE)
        else:
            parts["absmax"] = torch.from_numpy(absmax)
        spread = np.repeat(absmax, block)[: len(flat)]
        codes = nearest(flat / spread, NUMBERS)
        pairs = [int(codes[at]) << 4 | int(codes[at + 1]) for at in range(0, len(codes), 2)]
        parts["quant_map"] = torch.tensor(NUMBERS)
        parts[f"quant_state.bitsandbytes__{kind}"] = state_of(state)
        packed = torch.tensor(pairs, dtype=torch.uint8).view(storage).view(-1, 1)
        beside = {f"{name}.{role}": tensor for role, tensor in parts.items()}
        return {name: packed, **beside}, (NUMBERS[codes] * spread).reshape(weight.shape)

    return pack


def state_of(state: object) -> Tensor:
    return torch.tensor([*json.dumps(state).encode()], dtype=torch.uint8)


PACKED: dict[str, tuple[Pack, dict[str, Any], str]] = {
    "nf4": (pack_bnb(), BNB, "NF4"),
    "nf4, twice": (pack_bnb(nested=True), BNB, "NF4"),
    "nf4, a last block that is not full": (pack_bnb(block=1024, nested=True), BNB, "NF4"),
    "nf4, stored as bfloat16": (pack_bnb(storage=torch.bfloat16), BNB, "NF4"),
    "fp4": (pack_bnb("fp4"), {**BNB, "bnb_4bit_quant_type": "fp4"}, "FP4"),
    "fp4, twice": (pack_bnb("fp4", nested=True), {**BNB, "bnb_4bit_quant_type": "fp4"}, "FP4"),
    "as first written": (pack_bnb(), {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "NF4"),
}


@pytest.mark.parametrize("at_once", [2**24, 200])
@pytest.mark.parametrize(("pack", "settings", "stored_as"), PACKED.values(), ids=PACKED)
def test_weights_are_dequantized_codes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pack: Pack,
    settings: dict[str, Any],
    stored_as: str,
    at_once: int,
) -> None:
    monkeypatch.setattr("litgpt.adapters.checkpoints.quantized.bit_packing.CHUNK_NUMEL", at_once)
    expected = write_packed(tmp_path / "packed", pack, settings)
    check_weights(tmp_path / "packed", expected)
    checkpoint = open_hf_folder(tmp_path / "packed", "tiny")
    assert checkpoint.tensors[WEIGHT].storage_format == stored_as
    assert checkpoint.tensors["model.norm.weight"].storage_format == "F32"
    assert f"bitsandbytes to {stored_as}, 4 bits" in checkpoint.notes[0]


@pytest.mark.parametrize(
    "role",
    [
        "",
        ".absmax",
        ".quant_map",
        ".nested_absmax",
        ".nested_quant_map",
        ".quant_state.bitsandbytes__nf4",
    ],
)
def test_a_part_that_is_missing_or_misshapen_is_named(tmp_path: Path, role: str) -> None:
    write_packed(tmp_path / "packed", pack_bnb(nested=True), BNB)
    name = f"{WEIGHT}{role}"
    right = load_file(tmp_path / "packed" / "model.safetensors")[name]
    change(tmp_path / "packed", BNB, name, None)
    with pytest.raises(CorruptFile, match=rf"{WEIGHT}.* is missing"):
        open_hf_folder(tmp_path / "packed", "tiny")
    write_packed(tmp_path / "again", pack_bnb(nested=True), BNB)
    change(tmp_path / "again", BNB, name, right[1:])
    with pytest.raises(CorruptFile, match=WEIGHT):
        open_hf_folder(tmp_path / "again", "tiny").read(WEIGHT)


WRONG_STATES: dict[str, object] = {
    "its shape": {"shape": [80, 48], "blocksize": 64},
    "the shape": {"shape": [48 * 80], "blocksize": 64},
    "no shape": {"shape": None, "blocksize": 64},
    "no size of blocks": {"shape": [48, 80], "blocksize": 0},
    "an odd size of blocks": {"shape": [48, 80], "blocksize": 63},
    "no JSON object": [],
    "too many scales": {"shape": [48, 80], "blocksize": 128},
    "too few scales": {"shape": [48, 80], "blocksize": 32},
}


@pytest.mark.parametrize("state", WRONG_STATES.values(), ids=WRONG_STATES)
def test_a_state_that_contradicts_the_file_is_damage(tmp_path: Path, state: object) -> None:
    write_packed(tmp_path / "packed", pack_bnb(), BNB)
    change(tmp_path / "packed", BNB, f"{WEIGHT}.quant_state.bitsandbytes__nf4", state_of(state))
    with pytest.raises(CorruptFile, match=rf"{WEIGHT} cannot be dequantized"):
        open_hf_folder(tmp_path / "packed", "tiny").read(WEIGHT)


def test_a_quantization_state_without_json_or_nesting_is_damaged(tmp_path: Path) -> None:
    write_packed(tmp_path / "packed", pack_bnb(nested=True), BNB)
    name = f"{WEIGHT}.quant_state.bitsandbytes__nf4"
    for raw, message in (
        (torch.full((9,), 255, dtype=torch.uint8), "is not JSON"),
        (state_of({"shape": [48, 80], "blocksize": 64}), "nested quantization of its scales"),
    ):
        change(tmp_path / "packed", BNB, name, raw)
        with pytest.raises(CorruptFile, match=message):
            open_hf_folder(tmp_path / "packed", "tiny").read(WEIGHT)


REFUSED: dict[str, dict[str, Any]] = {
    "load_in_8bit = True": {**BNB, "load_in_8bit": True},
    "load_in_4bit = False": {**BNB, "load_in_4bit": False},
    "bnb_4bit_quant_type = 'int4'": {**BNB, "bnb_4bit_quant_type": "int4"},
}


@pytest.mark.parametrize(("message", "settings"), REFUSED.items(), ids=REFUSED)
def test_a_setting_that_is_not_implemented_is_named(
    tmp_path: Path, message: str, settings: dict[str, Any]
) -> None:
    write_packed(tmp_path / "packed", pack_bnb(), settings)
    with pytest.raises(UnsupportedModel) as caught:
        open_hf_folder(tmp_path / "packed", "tiny")
    assert f"'bitsandbytes', and {message}" in str(caught.value)
