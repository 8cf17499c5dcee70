"""`litgpt convert` from Hugging Face's folder to LitGPT's and back: the same model, in the same words."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt.adapters.checkpoints.folder import open_folder
from litgpt.adapters.checkpoints.folder_writing import FolderWriter
from litgpt.adapters.checkpoints.held import held_in
from litgpt.adapters.checkpoints.litgpt_folder import open_litgpt_folder
from litgpt.adapters.checkpoints.litgpt_writing import LitGptWriter
from litgpt.adapters.pytorch.equality import equal
from litgpt.adapters.pytorch.single_device import SingleDevice
from litgpt.adapters.text.saving import tokenizer_files_of
from litgpt.application.converting import ConvertModel
from litgpt.application.loading import PlaceModel
from litgpt.application.overwriting import Overwriting
from litgpt.application.saving import SaveModel
from litgpt.container import container
from litgpt.domain.ports import WriteModel
from litgpt.domain.reference import ModelReference
from litgpt.domain.reporting import silent
from tests.adapters.litgpt_variants import WRITABLE
from tests.adapters.tiny_models import save_byte_tokenizer, tiny_model

# The one that LitGPT's settings tell from Llama by nothing is among them.
EACH_FAMILY = {variant.family: variant for variant in reversed(WRITABLE)}


@pytest.fixture
def phi3(tmp_path: Path) -> Path:
    """Return LitGPT's folder of a Phi 3."""
    return to_litgpt(theirs("phi3", tmp_path), tmp_path)


def theirs(family: str, folder: Path, **settings: Any) -> Path:
    """Return a folder that transformers wrote."""
    tiny_model(family, **settings).save_pretrained(folder / "hf")
    save_byte_tokenizer(folder / "hf")
    return folder / "hf"


def convert(source: Path, to: Path, write: WriteModel[Any]) -> Path:
    convert_model = ConvertModel(
        container.load_model(),
        PlaceModel(SingleDevice(), equal),
        SaveModel(SingleDevice(), tokenizer_files_of, write, Overwriting(held_in)),
    )
    convert_model(ModelReference(str(source)), to, silent)
    return to


def to_litgpt(source: Path, folder: Path) -> Path:
    return convert(source, folder / "litgpt", LitGptWriter())


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_a_model_comes_back_from_litgpt_s_folder_as_it_was(family: str, tmp_path: Path) -> None:
    source = theirs(family, tmp_path, **EACH_FAMILY[family].settings)
    between = to_litgpt(source, tmp_path)
    back = convert(between, tmp_path / "back", FolderWriter())
    old, new = open_folder(source, "old"), open_folder(back, "new")
    assert new.config["model_type"] == family
    assert set(new.tensors) == set(old.tensors)
    for name in old.tensors:
        assert torch.equal(new.read(name), old.read(name)), name


def test_what_lies_beside_the_weights_comes_along(phi3: Path) -> None:
    names = {one.name for one in phi3.iterdir()}
    assert names >= {"lit_model.pth", "model_config.yaml", "config.json", "tokenizer.json"}


def test_a_config_beside_the_weights_that_means_another_structure_says_nothing(phi3: Path) -> None:
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "phi3"
    config = json.loads((phi3 / "config.json").read_text())
    (phi3 / "config.json").write_text(json.dumps({**config, "rope_theta": 500.0, "rope_parameters": None}))
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "llama"
    (phi3 / "config.json").write_text(json.dumps({**config, "num_hidden_layers": "three"}))
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "llama"
    (phi3 / "config.json").unlink()
    assert open_litgpt_folder(phi3, "tiny").config["model_type"] == "llama"


def test_what_a_config_beside_the_weights_says_of_how_they_were_stored_is_not_taken_over(phi3: Path) -> None:
    config = json.loads((phi3 / "config.json").read_text())
    stored = {"quantization_config": {"quant_method": "fp8"}, "torch_dtype": "float16"}
    (phi3 / "config.json").write_text(json.dumps(config | stored))
    read = open_litgpt_folder(phi3, "tiny").config
    assert read["model_type"] == "phi3"
    assert not stored.keys() & read.keys()
