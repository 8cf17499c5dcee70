"""Quantized safetensors run in their own bits, with the values that torch dequantizes."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from litgpt import LLM
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.native.structures import Format
from litgpt.adapters.native.weights.formats import choose_format
from tests.adapters.native.test_native_weights import (
    assert_equal,
    is_matrix,
    packed,
    read_by_torch,
    sources_of,
)
from tests.adapters.quantized_folders import CASES, Case, awq, gpt_oss_folder, gptq, quantized_folder, write
from tests.adapters.tiny_models import tiny_model
from tests.contracts.raw_tensors import stored_bytes

AWQ = {"quant_method": "awq", "bits": 4, "version": "gemm", "zero_point": True}
GPTQ = {"quant_method": "gptq", "checkpoint_format": "gptq"}


SIZES = {"hidden_size": 64, "intermediate_size": 96}
"""Widths of whole blocks."""


def case_of(pack: Any, config: dict[str, Any]) -> Case:
    return Case(pack, config, "", "")


def awq_folder(folder: Path) -> None:
    quantized_folder(folder, case_of(partial(awq, size=32), {**AWQ, "group_size": 32}), **SIZES)


def formats_of(folder: Path) -> set[Format]:
    """Return the formats of the matrices that are not dense, after comparing all values."""
    checkpoint = open_hf_folder(folder, "tiny")
    assert stored_bytes(checkpoint)
    assert_equal(packed(checkpoint), read_by_torch(checkpoint))
    formats = {choose_format(checkpoint, source) for source in filter(is_matrix, sources_of(checkpoint))}
    return formats - {Format.F32}


@pytest.mark.parametrize("size", [32, -1])
def test_awq_keeps_its_codes_and_zero_points(size: int, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    quantized_folder(folder, case_of(partial(awq, size=size), {**AWQ, "group_size": size}), **SIZES)
    assert formats_of(folder) == {Format.Q4Z}


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("size", [32, -1])
def test_gptq_keeps_its_codes_and_zero_points(size: int, bits: int, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    settings = {**GPTQ, "bits": bits, "group_size": size}
    quantized_folder(folder, case_of(partial(gptq, bits=bits, size=size), settings), **SIZES)
    assert formats_of(folder) == {Format.Q4Z}


def symmetric_gptq(layer: str, weight: np.ndarray[Any, Any]) -> Any:
    """Pack in 8 bits with zero points of 128, as most 8-bit checkpoints are."""
    limit = 2 * np.abs(weight).max()
    symmetric = np.concatenate(
        [weight[:, :-2], np.full((len(weight), 2), (-limit, limit * 127 / 128))], axis=1
    )
    return gptq(layer, symmetric.astype(np.float32), bits=8, size=-1)


def test_gptq_of_8_bits_is_q8_0_if_its_zero_points_are_in_the_middle(tmp_path: Path) -> None:
    settings = {**GPTQ, "bits": 8, "group_size": -1}
    quantized_folder(tmp_path / "middle", case_of(symmetric_gptq, settings), **SIZES)
    assert formats_of(tmp_path / "middle") == {Format.Q8}
    quantized_folder(tmp_path / "other", case_of(partial(gptq, bits=8, size=-1), settings), **SIZES)
    checkpoint = open_hf_folder(tmp_path / "other", "tiny")
    assert all(checkpoint.raw(name) is None for name in checkpoint.tensors if name.endswith("_proj.weight"))


@pytest.mark.parametrize(
    "pack", [partial(gptq, size=32, shuffled=True), partial(gptq, size=64), partial(awq, size=16)]
)
def test_groups_that_blocks_do_not_have_are_dequantized(pack: Any, tmp_path: Path) -> None:
    config = {**(AWQ if pack.func is awq else GPTQ), "bits": 4, "group_size": pack.keywords["size"]}
    quantized_folder(tmp_path / "tiny", case_of(pack, config), **SIZES)
    checkpoint = open_hf_folder(tmp_path / "tiny", "tiny")
    names = [name for name in checkpoint.tensors if name.endswith("down_proj.weight")]
    assert names
    assert all(checkpoint.raw(name) is None for name in names)


def test_scales_beyond_float16_are_dequantized(tmp_path: Path) -> None:
    def pack(layer: str, weight: np.ndarray[Any, Any]) -> Any:
        stored, values = awq(layer, weight, size=32)
        stored[f"{layer}.scales"] = stored[f"{layer}.scales"].float() * (1 + 2.0**-20)
        return stored, values

    quantized_folder(tmp_path / "tiny", case_of(pack, {**AWQ, "group_size": 32}), **SIZES)
    checkpoint = open_hf_folder(tmp_path / "tiny", "tiny")
    assert all(checkpoint.raw(name) is None for name in checkpoint.tensors if name.endswith("_proj.weight"))


def test_the_experts_of_gpt_oss_keep_their_codes(tmp_path: Path) -> None:
    gpt_oss_folder(tmp_path / "tiny")
    assert formats_of(tmp_path / "tiny") == {Format.FP4}


@pytest.mark.parametrize("common", [Format.BF16, Format.Q4Z])
def test_the_experts_of_a_layer_have_a_common_format(common: Format, tmp_path: Path) -> None:
    """With act-order, the order of an expert can be trivial by chance."""
    tiny_model("qwen3_moe", hidden_size=64, moe_intermediate_size=32, num_hidden_layers=2).save_pretrained(
        tmp_path / "plain"
    )
    stored: dict[str, torch.Tensor] = {}
    for name, weight in load_file(tmp_path / "plain" / "model.safetensors").items():
        if ".experts." not in name:
            stored[name] = weight
            continue
        shuffled = common is Format.BF16 and ".experts.0." not in name and weight.shape[1] > 32
        layer = name.removesuffix(".weight")
        parts, _ = gptq(layer, weight.numpy(), size=32, shuffled=shuffled)
        del parts[f"{layer}.bias"]
        stored |= parts
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    write(tmp_path / "tiny", config, {**GPTQ, "bits": 4, "group_size": 32, "desc_act": True}, stored)
    with LLM.load(tmp_path / "tiny", distribute=None, quiet=True) as model:
        model.distribute(engine="native")
        placed: Any = model._placed
        formats = {
            matrix.format
            for name, matrix in placed.model.weights.items()
            if ".experts." in name and not name.endswith("proj.weight")
        }
        assert formats == {common}


def test_formats_without_blocks_are_packed_in_bfloat16(tmp_path: Path) -> None:
    quantized_folder(tmp_path / "tiny", CASES["fp8, one scale"])
    checkpoint = open_hf_folder(tmp_path / "tiny", "tiny")
    formats = {choose_format(checkpoint, source) for source in filter(is_matrix, sources_of(checkpoint))}
    assert formats == {Format.F32, Format.BF16}


@pytest.mark.parametrize("write", [gpt_oss_folder, awq_folder])
def test_logits_differ_from_those_of_torch_by_the_rounding_of_activations(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    write(folder := tmp_path / "tiny")
    ids = list(range(40, 60))
    model = LLM.load(folder, distribute=None, quiet=True)
    model.distribute(engine="native")
    placed: Any = model._placed
    native = placed.model
    actual = native.step([(native.new_sequence(len(ids)), ids)])[0]
    expected = model(torch.tensor([ids]))[0, -1].float().detach().numpy()
    assert np.abs(actual - expected).max() <= 0.05 * np.abs(expected).max()
