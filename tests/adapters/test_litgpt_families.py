"""Tests of every family that LitGPT supports: its folder is read as the same model."""

import json
from pathlib import Path

import attrs
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from litgpt.adapters.checkpoints.litgpt.checkpoint import open_litgpt_folder
from litgpt.adapters.checkpoints.litgpt.structures import STRUCTURES
from litgpt.adapters.checkpoints.litgpt.tensors import LitGptTensors
from litgpt.domain.families import parse_config
from tests.adapters.litgpt_variants import VARIANTS, LitGptVariant, built
from tests.adapters.litgpt_writer import OF_FAMILY, by_group, settings_of, write_litgpt_folder

BY_NAME = {variant.name: variant for variant in VARIANTS}

IDS = torch.arange(3, 27)[None]  # longer than the window


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@torch.inference_mode()
def test_a_litgpt_folder_is_the_model_that_transformers_has(variant: LitGptVariant) -> None:
    written = variant.written()
    model, reference = written.model, written.reference
    checkpoint = open_litgpt_folder(written.folder, "tiny")
    family = variant.read_as or variant.family
    assert checkpoint.config["model_type"] == family
    described = parse_config("tiny", model.config.to_dict())
    assert parse_config("tiny", checkpoint.config) == attrs.evolve(described, family=family)
    expected = model(IDS).logits
    assert expected.std() > 0.1
    assert torch.allclose(built(checkpoint)(IDS), expected, atol=1e-5 * float(expected.abs().max()))
    if variant.read_as is None:
        assert set(checkpoint.tensors) == set(reference)
        for name, tensor in reference.items():
            assert checkpoint.tensors[name].shape == tuple(tensor.shape)
            assert torch.equal(checkpoint.read(name), tensor), name


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@torch.inference_mode()
def test_transformers_computes_the_same_from_a_litgpt_folders_config_and_tensors(
    variant: LitGptVariant, tmp_path: Path
) -> None:
    checkpoint = open_litgpt_folder(variant.written().folder, "tiny")
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    (tmp_path / "config.json").write_text(json.dumps({**checkpoint.config, **tokens}))
    tensors = {name: checkpoint.read(name).clone() for name in checkpoint.tensors}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    expected = variant.written().model(IDS).logits
    logits = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)(IDS).logits
    assert torch.allclose(logits, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["phi3, a part of each head rotated", "falcon, 7b"])
def test_a_tensor_with_the_same_layout_is_a_view_of_the_file(name: str) -> None:
    checkpoint = open_litgpt_folder(BY_NAME[name].written().folder, "tiny")
    joined = next(
        tensor for tensor in checkpoint.tensors if "qkv_proj" in tensor or "query_key_value" in tensor
    )
    assert checkpoint.read(joined).data_ptr() == checkpoint.read(joined).data_ptr()


def test_half_of_a_fused_tensor_is_missing() -> None:
    written = BY_NAME["phi3, a part of each head rotated"].written()
    checkpoint = open_litgpt_folder(written.folder, "tiny")
    state = torch.load(written.folder / "lit_model.pth")
    del state["transformer.h.1.mlp.fc_2.weight"]
    tensors = LitGptTensors.from_weights("lit_model.pth", state, parse_config("tiny", checkpoint.config))
    assert set(checkpoint.tensors) - set(tensors.targets) == {"model.layers.1.mlp.gate_up_proj.weight"}


@pytest.mark.parametrize("name", ["qwen2", "gpt_neox", "falcon, 7b", "falcon, 40b"])
def test_rows_that_an_older_litgpt_laid_group_by_group_are_sorted(name: str, tmp_path: Path) -> None:
    variant = BY_NAME[name]
    written = variant.written()
    settings = settings_of(variant.family, **variant.changed)
    state = torch.load(written.folder / "lit_model.pth")
    for joined in [value for value in state if ".attn.qkv." in value]:
        rows = by_group(state.pop(joined), heads=4, groups=settings["n_query_groups"], head_size=12)
        state[joined.replace(".attn.qkv.", ".attn.attn.")] = rows
    checkpoint = open_litgpt_folder(write_litgpt_folder(tmp_path, settings, state), "tiny")
    assert set(checkpoint.tensors) - {"lm_head.weight"} == set(written.reference) - {"lm_head.weight"}
    for value in written.reference:
        assert torch.equal(checkpoint.read(value), written.reference[value]), value


def test_no_family_is_forgotten() -> None:
    assert set(STRUCTURES) == set(OF_FAMILY) == {variant.family for variant in VARIANTS}
