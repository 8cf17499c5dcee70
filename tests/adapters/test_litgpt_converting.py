"""Tests of LitGPT folders with a `config.json` beside the weights, and of `litgpt convert`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.checkpoints.litgpt.checkpoint import open_litgpt_folder
from litgpt.container import container
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters.litgpt_variants import VARIANTS
from tests.adapters.litgpt_writer import litgpt_state, settings_of, write_litgpt_folder
from tests.adapters.tiny_models import save_byte_tokenizer, tiny_folder

EACH_FAMILY = {variant.family: variant for variant in reversed(VARIANTS) if variant.read_as is None}


@pytest.fixture
def phi3(tmp_path: Path) -> Path:
    """Return the folder that LitGPT's own converter leaves of a Phi 3: its files beside Hugging Face's."""
    reference = tiny_folder("phi3")
    state = litgpt_state("phi3", load_file(reference / "model.safetensors"))
    write_litgpt_folder(tmp_path, settings_of("phi3"), state)
    shutil.copy(reference / "config.json", tmp_path)
    return tmp_path


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_a_litgpt_folder_is_converted_to_the_tensors_that_transformers_saves(
    family: str, tmp_path: Path
) -> None:
    written = EACH_FAMILY[family].written()
    shutil.copytree(written.folder, tmp_path / "lit", ignore=shutil.ignore_patterns("reference"))
    save_byte_tokenizer(tmp_path / "lit")
    container.convert_model()(ModelReference(str(tmp_path / "lit")), tmp_path / "hf", null_reporter)
    converted = open_hf_folder(tmp_path / "hf", "converted")
    assert converted.config["model_type"] == family
    assert set(converted.tensors) == set(written.reference)
    for name, tensor in written.reference.items():
        assert torch.equal(converted.read(name), tensor), name


def test_a_config_json_of_another_architecture_is_ignored(phi3: Path) -> None:
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "phi3"
    config = json.loads((phi3 / "config.json").read_text())
    (phi3 / "config.json").write_text(json.dumps({**config, "rope_theta": 500.0, "rope_parameters": None}))
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "llama"
    (phi3 / "config.json").write_text(json.dumps({**config, "num_hidden_layers": "three"}))
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "llama"
    (phi3 / "config.json").unlink()
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "llama"


def test_storage_settings_of_a_config_json_beside_the_weights_are_ignored(phi3: Path) -> None:
    config = json.loads((phi3 / "config.json").read_text())
    stored = {"quantization_config": {"quant_method": "fp8"}, "torch_dtype": "float16"}
    (phi3 / "config.json").write_text(json.dumps(config | stored))
    read = open_litgpt_folder(phi3, "tiny").config
    assert read["model_type"] == "phi3"
    assert not stored.keys() & read.keys()
