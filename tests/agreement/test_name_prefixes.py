"""Tests of files in which some names lack a common prefix level."""

from pathlib import Path
from shutil import copytree

import pytest
import torch

from litgpt import LLM
from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.agreement.models import random_ids


@pytest.mark.parametrize(
    ("family", "beginning"), [("gpt2", "transformer."), ("bloom", "transformer."), ("opt", "model.")]
)
@torch.inference_mode()
def test_a_file_without_the_level_around_all_the_rest_is_read(
    family: str, beginning: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "tiny"
    copytree(tiny_folder(family), folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    assert any(name.startswith(beginning) for name in tensors)
    save_file({name.removeprefix(beginning): tensor for name, tensor in tensors.items()}, file)
    llm = LLM.load(folder, distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true")
    ids = random_ids(1, 20)
    expected = tiny_model(family)(ids).logits
    assert torch.allclose(llm(ids), expected, atol=1e-4 * float(expected.abs().max()))
