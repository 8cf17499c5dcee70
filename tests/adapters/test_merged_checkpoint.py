"""Tests of an adapter folder opened as the merged model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.checkpoints.peft.lora_store import LoraStore
from litgpt.adapters.checkpoints.peft.writer import write_adapter
from litgpt.domain.errors import InvalidArgument, InvalidCheckpoint, ModelNotFound
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, LoraWeights
from litgpt.domain.ports import ModelStore
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters.tiny_models import tiny_folder
from tests.contracts.model_store import ModelStoreContract

Q = "model.layers.0.self_attn.q_proj"


def adapter(base: str | None, module: str = Q, outputs: int = 48) -> LoraAdapter[Tensor]:
    pair = LoraWeights(torch.randn(4, 48), torch.randn(outputs, 4), 4, 8.0)
    return LoraAdapter(config=LoraConfig(rank=4), weights={module: pair}, base_model=base)


def store_of(root: Path) -> LoraStore:
    return LoraStore(LocalStore(root), root)


class TestAdaptedStore(ModelStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ModelStore[Any]:
        shutil.copytree(tiny_folder("llama"), tmp_path / "base")
        write_adapter(tmp_path / "tiny", adapter(str(tmp_path / "base")))
        return store_of(tmp_path)

    def test_its_names_have_the_model(self, store: ModelStore[Any]) -> None:
        assert "base" in store.names()  # an adapter is none of its own


def test_an_adapter_changes_only_its_targets(tmp_path: Path) -> None:
    first = adapter(str(tiny_folder("llama")))
    base = LocalStore().open(ModelReference(str(tiny_folder("llama"))))
    write_adapter(tmp_path / "it", first)
    merged = store_of(tmp_path).open(ModelReference("it"))
    changed = {name for name in merged.tensors if not torch.equal(merged.read(name), base.read(name))}
    assert changed == {f"{Q}.weight"}
    pair = first.weights[Q]
    expected = base.read(f"{Q}.weight") + 2 * pair.lora_B @ pair.lora_A
    assert torch.allclose(merged.read(f"{Q}.weight"), expected, atol=1e-5)
    assert torch.equal(merged.read(f"{Q}.weight", "bfloat16"), merged.read(f"{Q}.weight").bfloat16())


def test_a_tokenizer_that_was_saved_with_the_adapter_is_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    write_adapter(folder, adapter(str(tiny_folder("llama"))))
    without = store_of(tmp_path).open(ModelReference("it")).read_tokenizer()
    shutil.copy(tiny_folder("llama") / "tokenizer.json", folder)
    own = store_of(tmp_path).open(ModelReference("it")).read_tokenizer()
    assert isinstance(without, TokenizerFiles)
    assert isinstance(own, TokenizerFiles)
    assert without.paths["tokenizer.json"] == tiny_folder("llama") / "tokenizer.json"
    assert own.paths["tokenizer.json"] == folder / "tokenizer.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": None}, "base_model_name_or_path"),
        ({"module": "model.vision.q_proj"}, r"model\.vision\.q_proj"),
        ({"outputs": 40}, r"\[40, 48\].*\[48, 48\]"),
    ],
)
def test_an_adapter_that_does_not_fit_is_an_error_when_it_is_opened(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_adapter(tmp_path / "it", adapter(**{"base": str(tiny_folder("llama")), **changes}))
    with pytest.raises(InvalidCheckpoint, match=message):
        store_of(tmp_path).open(ModelReference("it"))


def test_a_folder_has_no_revisions(tmp_path: Path) -> None:
    write_adapter(tmp_path / "it", adapter(str(tiny_folder("llama"))))
    with pytest.raises(InvalidArgument, match="revision"):
        store_of(tmp_path).open(ModelReference("it", revision="main"))


def test_a_missing_base_model_is_named_together_with_the_adapter(tmp_path: Path) -> None:
    write_adapter(tmp_path / "it", adapter("org/base"))
    with pytest.raises(ModelNotFound, match=r"'org/base'.*It is the base model of the adapter"):
        store_of(tmp_path).open(ModelReference("it"))


def test_a_model_folder_with_adapter_files_is_the_model(tmp_path: Path) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path / "both")
    (tmp_path / "both" / "adapter_config.json").write_text(json.dumps({}))
    assert store_of(tmp_path).open(ModelReference("both")).config["model_type"] == "llama"
