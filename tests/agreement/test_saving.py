"""Tests of saved models of every family: transformers and this library open the same model."""

from pathlib import Path

import pytest
import torch

from litgpt import LLM
from litgpt.domain.families import FAMILIES
from tests.adapters.tiny_models import FAMILIES as FAMILY_SIZES
from tests.adapters.tiny_models import SIZES, tiny_folder
from tests.agreement.models import random_ids


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_transformers_opens_what_was_saved_and_computes_the_same(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    llm = LLM.load(tiny_folder(family), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    llm.save(tmp_path)
    if family == "longcat_flash":
        add_identity_experts(tmp_path)
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = random_ids(1, 20)
    expected = llm(ids)
    assert torch.allclose(reference(ids).logits, expected, atol=1e-4 * float(expected.abs().max()))
    reloaded = LLM.load(tmp_path, distribute=None, quiet=True)
    reloaded.distribute(accelerator="cpu", precision="32-true")
    assert torch.allclose(reloaded(ids), expected, atol=1e-5)


def add_identity_experts(folder: Path) -> None:
    """Add weights of the experts that return their input, which transformers 5.24 has but does not use."""
    from safetensors.torch import load_file, save_file

    path, sizes = folder / "model.safetensors", SIZES | FAMILY_SIZES["longcat_flash"]
    tensors = load_file(path)
    for layer in range(sizes["num_layers"]):
        for expert in range(sizes["zero_expert_num"]):
            for leaf in ("gate_proj", "up_proj"):
                name = f"model.layers.{layer}.mlp.experts.{sizes['n_routed_experts'] + expert}.{leaf}.weight"
                tensors[name] = torch.zeros(sizes["expert_ffn_hidden_size"], sizes["hidden_size"])
    save_file(tensors, path, metadata={"format": "pt"})
