"""Tests of AWQ and GPTQ: packed values, and invalid ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.errors import CheckpointMismatch, CorruptFile, UnsupportedModel
from litgpt.domain.families import resolve_model
from tests.adapters.packed_weights import (
    LAYER,
    Pack,
    change,
    check_weights,
    pack_awq,
    pack_gptq,
    words,
    write_folder,
    write_packed,
)

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 16, "zero_point": True, "version": "gemm"}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": False, "sym": False}

PACKED: dict[str, tuple[Pack, dict[str, Any], str]] = {
    "awq": (pack_awq(16), AWQ, "AWQ 4-bit"),
    "awq, groups of 8": (pack_awq(8), {**AWQ, "group_size": 8, "version": "GEMM"}, "AWQ 4-bit"),
    "gptq": (pack_gptq(16), GPTQ, "GPTQ 4-bit"),
    "gptq, 8 bits": (pack_gptq(16, bits=8), {**GPTQ, "bits": 8}, "GPTQ 8-bit"),
    "gptq, by activations": (pack_gptq(16, shuffled=True), {**GPTQ, "desc_act": True}, "GPTQ 4-bit"),
    "gptq, groups unsaid": (pack_gptq(16, with_groups=False), GPTQ, "GPTQ 4-bit"),
    "gptq, groups not full": (pack_gptq(32, with_groups=False), {**GPTQ, "group_size": 32}, "GPTQ 4-bit"),
    "gptq, one group": (pack_gptq(-1), {**GPTQ, "group_size": -1}, "GPTQ 4-bit"),
    "gptq v2": (pack_gptq(16, less_one=False), {**GPTQ, "checkpoint_format": "gptq_v2"}, "GPTQ 4-bit"),
    "gptq v2, by its new name": (pack_gptq(16, less_one=False), {**GPTQ, "format": "GPTQ_v2"}, "GPTQ 4-bit"),
}


@pytest.mark.parametrize(("pack", "settings", "stored_as"), PACKED.values(), ids=PACKED)
def test_weights_are_dequantized_codes(
    tmp_path: Path, pack: Pack, settings: dict[str, Any], stored_as: str
) -> None:
    expected = write_packed(tmp_path / "packed", pack, settings)
    check_weights(tmp_path / "packed", expected)
    checkpoint = open_hf_folder(tmp_path / "packed", "tiny")
    assert checkpoint.tensors[f"{LAYER}.weight"].storage_format == stored_as
    assert checkpoint.tensors["model.norm.weight"].storage_format == "F32"
    method, bits = stored_as.removesuffix("-bit").split()
    described = f"the weights are quantized by {method} to {bits} bits"
    reported = f"{described}; an engine without this format dequantizes them."
    assert checkpoint.notes == (reported,)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_codes_of_other_sizes_are_read_too(tmp_path: Path, bits: int) -> None:
    settings = {**GPTQ, "bits": bits, "group_size": 32, "checkpoint_format": "gptq_v2"}
    write_packed(tmp_path / "packed", pack_gptq(16), GPTQ)
    weight = np.random.default_rng(bits).standard_normal((64, 96)).astype(np.float32)
    parts, expected = pack_gptq(32, bits=bits, less_one=False, shuffled=True)("odd.weight", weight)
    write_folder(tmp_path / "packed", parts, settings)
    read = open_hf_folder(tmp_path / "packed", "tiny").read("odd.weight")
    assert torch.equal(read, torch.from_numpy(expected))


def test_a_zero_point_of_0_borrows_from_the_next(tmp_path: Path) -> None:
    """As GPTQModel writes it: one is subtracted from all zeros of a word at once."""
    write_packed(tmp_path / "packed", pack_gptq(16), GPTQ)
    file = load_file(tmp_path / "packed" / "model.safetensors")
    zeros = [0, 5, 0, 15, 7, 0, 0, 3]
    word = words(zeros, 4)[0] - 0x11111111
    wrapped = (word + 2**31) % 2**32 - 2**31
    file[f"{LAYER}.qweight"].zero_()
    file[f"{LAYER}.qzeros"].fill_(wrapped)
    file[f"{LAYER}.scales"].fill_(1)
    write_folder(tmp_path / "packed", file, GPTQ)
    read = open_hf_folder(tmp_path / "packed", "tiny").read(f"{LAYER}.weight")
    assert read[:8, 0].tolist() == [-float(zero) for zero in zeros]


def test_a_large_weight_is_worked_on_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litgpt.adapters.checkpoints.quantized.bit_packing.CHUNK_NUMEL", 500)
    for name in ("awq", "gptq, by activations"):
        pack, settings, _ = PACKED[name]
        check_weights(tmp_path / name, write_packed(tmp_path / name, pack, settings))


def test_unused_zero_biases_are_ignored(tmp_path: Path) -> None:
    extra = {f"{LAYER}.bias": torch.zeros(48)}
    expected = write_packed(tmp_path / "packed", pack_gptq(16), GPTQ, more=extra)
    check_weights(tmp_path / "packed", expected)


def test_a_nonzero_bias_is_not_ignored(tmp_path: Path) -> None:
    extra = {f"{LAYER}.bias": torch.ones(48)}
    write_packed(tmp_path / "packed", pack_gptq(16), GPTQ, more=extra)
    with pytest.raises(CorruptFile, match=rf"{LAYER}.*bias"):
        open_hf_folder(tmp_path / "packed", "tiny").read(f"{LAYER}.weight")


@pytest.mark.parametrize("method", ["awq", "gptq"])
@pytest.mark.parametrize("role", ["qweight", "qzeros", "scales"])
def test_a_part_that_is_missing_is_named(tmp_path: Path, method: str, role: str) -> None:
    pack, settings, _ = PACKED[method]
    write_packed(tmp_path / "packed", pack, settings)
    change(tmp_path / "packed", settings, f"{LAYER}.{role}", None)
    with pytest.raises(CorruptFile, match=rf"{LAYER}\.{role} is missing"):
        open_hf_folder(tmp_path / "packed", "tiny")


@pytest.mark.parametrize(
    ("method", "role"),
    [
        *(("awq", role) for role in ("qweight", "qzeros", "scales")),
        *(("gptq", role) for role in ("qweight", "qzeros", "scales", "g_idx")),
    ],
)
def test_a_part_of_a_wrong_shape_or_dtype_is_named(tmp_path: Path, method: str, role: str) -> None:
    pack, settings, _ = PACKED[method]
    write_packed(tmp_path / "packed", pack, settings)
    name = f"{LAYER}.{role}"
    right = load_file(tmp_path / "packed" / "model.safetensors")[name]
    for wrong in (right[1:], right.double(), right.unsqueeze(0)):
        change(tmp_path / "packed", settings, name, wrong)
        with pytest.raises(CorruptFile, match=rf"{LAYER}\."):
            open_hf_folder(tmp_path / "packed", "tiny")


@pytest.mark.parametrize("wrong", [-1, 5])
def test_an_input_that_belongs_to_no_group_is_a_damaged_file(tmp_path: Path, wrong: int) -> None:
    write_packed(tmp_path / "packed", pack_gptq(16), GPTQ)
    group = load_file(tmp_path / "packed" / "model.safetensors")[f"{LAYER}.g_idx"]
    group[3] = wrong
    change(tmp_path / "packed", GPTQ, f"{LAYER}.g_idx", group)
    checkpoint = open_hf_folder(tmp_path / "packed", "tiny")
    for read in (checkpoint.read, checkpoint.raw):
        with pytest.raises(CorruptFile, match="g_idx"):
            read(f"{LAYER}.weight")


def test_unused_packed_tensors_are_unexpected(tmp_path: Path) -> None:
    extra = {"model.layers.0.mlp.act.scales": torch.ones(9)}
    write_packed(tmp_path / "packed", pack_awq(16), AWQ, more=extra)
    checkpoint = open_hf_folder(tmp_path / "packed", "tiny")
    with pytest.raises(CheckpointMismatch, match=r"act\.scales"):
        resolve_model("tiny", checkpoint.config, checkpoint.tensors)


REFUSED: dict[str, Any] = {
    "'awq', and bits = 8": {**AWQ, "bits": 8},
    "'awq', and version = 'gemv'": {**AWQ, "version": "gemv"},
    "'awq', and format = 'gemv_fast'": {**AWQ, "format": "gemv_fast"},
    "'awq', and backend = 'llm-awq'": {**AWQ, "backend": "llm-awq"},
    "'awq', and zero_point = False": {**AWQ, "zero_point": False},
    "'awq', and group_size = 0": {**AWQ, "group_size": 0},
    "'gptq', and bits = 5": {**GPTQ, "bits": 5},
    "'gptq', and bits = 3": {**GPTQ, "bits": 3},
    "'gptq', and bits = True": {**GPTQ, "bits": True},
    "'gptq', and checkpoint_format = 'marlin'": {**GPTQ, "checkpoint_format": "marlin"},
    "'gptq', and is_marlin_format = True": {**GPTQ, "is_marlin_format": True},
    "'gptq', and adapter = {'rank': 8}": {**GPTQ, "adapter": {"rank": 8}},
    "'gptq', and pack_dtype = 'int16'": {**GPTQ, "pack_dtype": "int16"},
    "'gptq', and dynamic = ": {**GPTQ, "dynamic": {r"+:.*\.down": {"bits": 8}}},
    "'aqlm' (quantization_config), which is not one of: awq, bitsandbytes": {"quant_method": "aqlm"},
    "None (quantization_config)": {"bits": 4},
    "'gptq', which has no valid quant_method": "gptq",
}


@pytest.mark.parametrize(("message", "settings"), REFUSED.items(), ids=REFUSED)
def test_a_method_or_setting_that_is_not_implemented_is_named(
    tmp_path: Path, message: str, settings: object
) -> None:
    write_packed(tmp_path / "packed", pack_gptq(16), settings)
    with pytest.raises(UnsupportedModel) as caught:
        open_hf_folder(tmp_path / "packed", "tiny")
    assert message in str(caught.value)


def test_layers_that_a_pattern_leaves_plain_are_read_as_they_are(tmp_path: Path) -> None:
    settings = {**GPTQ, "dynamic": {"-:lm_head": {}}, "lm_head": False}
    check_weights(tmp_path / "packed", write_packed(tmp_path / "packed", pack_gptq(16), settings))


def test_a_quantization_config_without_quantized_weights_is_ignored(tmp_path: Path) -> None:
    expected = write_packed(
        tmp_path / "packed", lambda name, weight: ({name: torch.tensor(weight)}, weight), AWQ
    )
    check_weights(tmp_path / "packed", expected)
    assert not open_hf_folder(tmp_path / "packed", "tiny").notes
