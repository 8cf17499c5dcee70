"""Every family that LitGPT has code for: its folder is read as the same model."""

import json
from pathlib import Path

import attrs
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from litgpt.adapters.checkpoints.litgpt_families import STRUCTURES
from litgpt.adapters.checkpoints.litgpt_folder import open_litgpt_folder
from litgpt.domain.families import describe
from tests.adapters.litgpt_variants import READABLE, LitGptVariant, built
from tests.adapters.litgpt_writer import OF_FAMILY

IDS = torch.arange(3, 27)[None]  # longer than the window


@pytest.mark.parametrize("variant", READABLE, ids=lambda variant: variant.name)
@torch.inference_mode()
def test_a_litgpt_folder_is_the_model_that_transformers_has(variant: LitGptVariant, tmp_path: Path) -> None:
    model, theirs = variant.write(tmp_path)
    checkpoint = open_litgpt_folder(tmp_path, "tiny")
    family = variant.read_as or variant.family
    assert checkpoint.config["model_type"] == family
    described = describe("tiny", model.config.to_dict())
    assert describe("tiny", checkpoint.config) == attrs.evolve(described, family=family)
    expected = model(IDS).logits
    assert expected.std() > 0.1
    assert torch.allclose(built(checkpoint)(IDS), expected, atol=1e-5 * float(expected.abs().max()))
    if variant.read_as is None:
        assert set(checkpoint.tensors) == set(theirs)
        for name, tensor in theirs.items():
            assert checkpoint.tensors[name].shape == tuple(tensor.shape)
            assert torch.equal(checkpoint.read(name), tensor), name


@pytest.mark.parametrize("variant", READABLE, ids=lambda variant: variant.name)
@torch.inference_mode()
def test_transformers_computes_the_same_from_what_we_say_a_litgpt_folder_holds(
    variant: LitGptVariant, tmp_path: Path
) -> None:
    model, _ = variant.write(tmp_path)
    checkpoint = open_litgpt_folder(tmp_path, "tiny")
    again = tmp_path / "again"
    again.mkdir()
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    (again / "config.json").write_text(json.dumps({**checkpoint.config, **tokens}))
    tensors = {name: checkpoint.read(name).clone() for name in checkpoint.tensors}
    save_file(tensors, again / "model.safetensors", {"format": "pt"})
    expected = model(IDS).logits
    logits = AutoModelForCausalLM.from_pretrained(again, dtype=torch.float32)(IDS).logits
    assert torch.allclose(logits, expected, atol=1e-5 * float(expected.abs().max()))


def test_no_family_is_forgotten() -> None:
    assert set(STRUCTURES) == set(OF_FAMILY) == {variant.family for variant in READABLE}
