"""Tests of MXFP4: every code and exponent, as gpt-oss stores its experts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.domain.errors import CorruptFile
from tests.adapters.packed_weights import Array, write_folder, write_packed

MXFP4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
NAME = "model.layers.0.mlp.experts.gate_up_proj"
EXPERTS, OUTPUTS, GROUPS = 3, 8, 2


def e2m1(code: int) -> float:
    """Return the value of a code: sign, two exponent bits, one mantissa bit."""
    sign, exponent, mantissa = code >> 3, code >> 1 & 3, code & 1
    number = mantissa / 2 if exponent == 0 else (2 + mantissa) * 2.0 ** (exponent - 2)
    return -number if sign else number


def packed() -> tuple[dict[str, Tensor], Array]:
    """Return blocks and scales, and the weight (experts, in, out) in float32."""
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (EXPERTS, OUTPUTS, GROUPS, 16))
    scales = random.integers(90, 160, (EXPERTS, OUTPUTS, GROUPS))
    weight = np.zeros((EXPERTS, 32 * GROUPS, OUTPUTS), np.float32)
    for (expert, output, group, byte), raw in np.ndenumerate(blocks):
        first = 32 * group + 2 * byte
        scale = 2.0 ** (int(scales[expert, output, group]) - 127)
        weight[expert, first, output] = e2m1(int(raw) & 15) * scale
        weight[expert, first + 1, output] = e2m1(int(raw) >> 4) * scale
    parts = {f"{NAME}_blocks": blocks, f"{NAME}_scales": scales}
    return {name: torch.tensor(part, dtype=torch.uint8) for name, part in parts.items()}, weight


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with only the packed weight."""
    folder = tmp_path / "packed"
    write_packed(folder, lambda name, weight: ({name: torch.tensor(weight)}, weight), MXFP4, more=packed()[0])
    return folder


def test_experts_are_transposed_and_scaled_by_block_exponents(folder: Path) -> None:
    _, weight = packed()
    checkpoint = open_hf_folder(folder, "tiny")
    info = checkpoint.tensors[NAME]
    assert info.shape == weight.shape
    assert info.storage_format == "MXFP4"
    assert info.nbytes == EXPERTS * OUTPUTS * GROUPS * 17
    read = checkpoint.read(NAME)
    assert read.is_contiguous()
    assert torch.equal(read, torch.from_numpy(weight))
    assert torch.equal(checkpoint.read(NAME, "bfloat16"), torch.from_numpy(weight).bfloat16())
    assert checkpoint.notes == (
        "the weights are quantized to MXFP4; an engine without this format dequantizes them.",
    )


def test_it_is_what_transformers_makes_of_it(folder: Path) -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    parts, _ = packed()
    reference = convert_moe_packed_tensors(parts[f"{NAME}_blocks"], parts[f"{NAME}_scales"])
    assert torch.equal(open_hf_folder(folder, "tiny").read(NAME, "bfloat16"), reference)


def test_the_smallest_and_the_largest_exponents_are_held(folder: Path) -> None:
    parts = load_file(folder / "model.safetensors")
    parts[f"{NAME}_blocks"].fill_(0x21)  # a half, then one
    parts[f"{NAME}_scales"].fill_(0)
    parts[f"{NAME}_scales"][1].fill_(254)
    parts[f"{NAME}_scales"][2].fill_(255)
    write_folder(folder, parts, MXFP4)
    read = open_hf_folder(folder, "tiny").read(NAME)
    assert read[:2, :2, 0].tolist() == [[2.0**-128, 2.0**-127], [2.0**126, 2.0**127]]
    assert read[2].isnan().all()


@pytest.mark.parametrize("role", ["blocks", "scales"])
def test_a_part_that_is_missing_or_misshapen_is_named(folder: Path, role: str) -> None:
    parts = load_file(folder / "model.safetensors")
    right = parts.pop(f"{NAME}_{role}")
    write_folder(folder, parts, MXFP4)
    with pytest.raises(CorruptFile, match=rf"{NAME}_{role} is missing"):
        open_hf_folder(folder, "tiny")
    for wrong in (right[1:], right[..., 1:], right.short()):
        write_folder(folder, {**parts, f"{NAME}_{role}": wrong}, MXFP4)
        with pytest.raises(CorruptFile, match=rf"{NAME}_"):
            open_hf_folder(folder, "tiny")
