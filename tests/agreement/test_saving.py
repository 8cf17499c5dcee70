"""Tests of saved models of every family: transformers and this library open the same model."""

from pathlib import Path

import pytest
import torch

from litgpt import LLM
from litgpt.domain.families import FAMILIES
from tests.adapters.tiny_models import tiny_folder
from tests.agreement.models import random_ids


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_transformers_opens_what_was_saved_and_computes_the_same(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    llm = LLM.load(tiny_folder(family), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    llm.save(tmp_path)
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = random_ids(1, 20)
    expected = llm(ids)
    assert torch.allclose(reference(ids).logits, expected, atol=1e-4 * float(expected.abs().max()))
    reloaded = LLM.load(tmp_path, distribute=None, quiet=True)
    reloaded.distribute(accelerator="cpu", precision="32-true")
    assert torch.allclose(reloaded(ids), expected, atol=1e-5)
