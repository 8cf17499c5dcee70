"""Tests of code beside a model: never imported or run, for any config and tokenizer."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from litgpt import LLM
from litgpt.domain.errors import LitGPTError, UnsupportedModel
from tests.adapters.tiny_models import tiny_folder

pytestmark = pytest.mark.usefixtures("one_thread")

MODULES = ("modeling_own", "configuration_own", "tokenization_own", "__init__", "conftest", "sitecustomize")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model with its own code, which leaves a file where it is run."""
    path = tmp_path / "model"
    copytree(tiny_folder("llama"), path)
    for name in MODULES:
        (path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    change(
        path / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Own"}, trust_remote_code=True
    )
    change(path / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_own.Own", None]})
    return path


def change(path: Path, **settings: object) -> None:
    config = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(config | settings))


def test_a_model_of_a_known_family_runs_without_its_code(folder: Path) -> None:
    with LLM.load(str(folder), quiet=True) as llm, LLM.load(tiny_folder("llama"), quiet=True) as usual:
        answer = llm.generate("hello", max_new_tokens=4, top_k=1)
        assert answer == usual.generate("hello", max_new_tokens=4, top_k=1)
    assert not (folder.parent / "ran").exists()


def test_a_model_that_needs_its_code_is_refused_by_name(folder: Path) -> None:
    change(folder / "config.json", model_type="own")
    with pytest.raises(UnsupportedModel, match="own"):
        LLM.load(str(folder), quiet=True)
    assert not (folder.parent / "ran").exists()


def test_a_tokenizer_that_needs_its_code_is_refused(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer.model"):
        (folder / name).unlink(missing_ok=True)
    change(folder / "tokenizer_config.json", tokenizer_class="Own")
    with pytest.raises(LitGPTError, match="tokenizer"):
        LLM.load(str(folder), quiet=True)
    assert not (folder.parent / "ran").exists()
