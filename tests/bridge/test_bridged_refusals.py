"""Models that transformers cannot compute either, or not as asked for: refused by name. No code is run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.adapters.pytorch.bridge import config as bridge_config
from litgpt.domain.errors import (
    CheckpointMismatch,
    CorruptFile,
    NotInstalled,
    UnsupportedModel,
    UnsupportedOperation,
)
from tests.adapters.tiny_models import tiny_folder
from tests.bridge.bridged_models import EXACT, IDS, bridged_folder, bridged_model, folder_with, load


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantize": "int8"}, "quantize='int8'.*transformers computes"),
        ({"devices": 2, "generate_strategy": "tensor_parallel"}, "generate_strategy='tensor_parallel'"),
        ({"kv_cache": "int8"}, "kv_cache='int8'"),
        ({"engine": "torch"}, "engine='torch'.*model_type 'rwkv'.*engine=None"),
        ({"engine": "native"}, "engine='native'.*model_type 'rwkv'"),
    ],
)
def test_what_is_not_possible_is_refused_before_weights_are_read(
    options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LLM.load(bridged_folder("rwkv"), quiet=True, distribute=None) as llm:
        monkeypatch.setattr(type(llm._loaded.checkpoint), "read", None)
        with pytest.raises(UnsupportedOperation, match=message):
            llm.distribute(accelerator="cpu", **options)


def test_a_model_returns_to_its_own_engine() -> None:
    with load(tiny_folder("mistral"), engine="transformers") as llm:
        bridged = llm(IDS)
        llm.distribute(engine="torch", **EXACT)
        assert type(llm.model).__name__ == "GPT"
        torch.testing.assert_close(llm(IDS), bridged, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("bert", "it is an encoder"),
        ("bart", "it is an encoder-decoder"),
        ("whisper", "it is a speech model"),
        ("git", "it is a multimodal model"),
        ("xlnet", "it is not causal"),
        ("vit", "has no causal language model of this type"),
        ("of_a_repository", "has no causal language model of this type.*code in a repository is not run"),
    ],
)
def test_other_kinds_of_models_are_refused_by_name(model_type: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=f"{model_type}.*{reason}"):
        LLM.load(folder_with(tmp_path, model_type=model_type))


def test_code_of_a_repository_is_not_run(tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path,
        auto_map={"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"},
        attn_implementation="someone/kernels",
        _attn_implementation="someone/kernels",
    )
    (folder / "code.py").write_text("raise SystemExit('it ran')")
    with load(folder) as llm, torch.no_grad():
        torch.testing.assert_close(llm(IDS), bridged_model("rwkv")(IDS).logits)
        assert "auto_map" not in json.loads((llm.save(tmp_path / "out") / "config.json").read_text())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_hidden_layers": 10**9}, CorruptFile, "num_hidden_layers"),
        ({"vocab_size": 10**12}, CheckpointMismatch, "stored"),
        ({"hidden_size": "many"}, CorruptFile, "hidden_size"),
        ({"attention_hidden_size": 16}, CheckpointMismatch, "with a wrong shape"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    settings: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        LLM.load(folder_with(tmp_path, **settings), quiet=True)


def test_without_the_package_the_refusal_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise NotInstalled("This model", "transformers", bridge_config.INSTALL)

    monkeypatch.setattr(bridge_config, "import_transformers", absent)
    with pytest.raises(UnsupportedModel, match=re.escape('pip install "litgpt[transformers]"')):
        LLM.load(bridged_folder("rwkv"))
