"""Tests of `tokenizer_dir`: a folder, or a repository whose tokenizer alone is downloaded."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

from litgpt import LLM, Tokenizer
from litgpt.adapters.checkpoints.chain_store import ChainStore
from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.checkpoints.installed_store import InstalledModel, InstalledStore
from litgpt.adapters.hub.store import HubStore
from litgpt.container import container
from litgpt.domain.errors import (
    HubUnreachable,
    InvalidArgument,
    InvalidCheckpoint,
    MissingFile,
    ModelNotFound,
    WrongType,
)
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.tiny_gguf import write_tiny_gguf
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """Yield a Hub with the repository `org/words`, a complete model."""
    shutil.copytree(tiny_folder("llama"), tmp_path / "hub" / "org" / "words")
    with LoopbackHub(tmp_path / "hub") as running:
        store = HubStore(open_hf_folder, endpoint=running.endpoint, cache_dir=tmp_path / "cache")
        with container.hub.override(providers.Object(store)):
            yield running


def load(tokenizer_dir: str | Path, *, offline: bool | None = None) -> LLM:
    return LLM.load(
        tiny_folder("llama"), tokenizer_dir=tokenizer_dir, distribute=None, offline=offline, quiet=True
    )


@pytest.mark.parametrize("name", ["org/words", Path("org/words")])
def test_only_the_tokenizer_of_a_repository_is_downloaded(hub: LoopbackHub, name: str | Path) -> None:
    with load(name) as llm, load(tiny_folder("llama")) as local:
        assert llm.tokenizer.encode("Hello").tolist() == local.tokenizer.encode("Hello").tolist()
    assert hub.sent["org/words/tokenizer.json"]
    assert [request for request in hub.requests if "safetensors" in request] == []


def test_it_is_there_without_a_network_afterwards(hub: LoopbackHub) -> None:
    with pytest.raises(HubUnreachable):
        load("org/words", offline=True)
    load("org/words").close()
    hub.requests.clear()
    load("org/words", offline=True).close()
    assert hub.requests == []


def test_a_folder_comes_before_the_hub(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_folder("llama"), tmp_path / "here" / "org" / "words")
    monkeypatch.chdir(tmp_path / "here")
    load("org/words").close()
    assert hub.requests == []


def test_an_unknown_name_is_not_found_with_the_places_searched(hub: LoopbackHub) -> None:
    with pytest.raises(ModelNotFound, match=rf"'org/letters'\. Looked in: the path itself.*{hub.endpoint}"):
        load("org/letters")


def test_a_tokenizer_alone_comes_from_a_repository_as_well(hub: LoopbackHub) -> None:
    assert Tokenizer("org/words").vocab_size == Tokenizer(tiny_folder("llama")).vocab_size
    assert [request for request in hub.requests if "safetensors" in request] == []


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a GGUF file, which is also the installed model `words`."""
    folder = tmp_path / "site" / "llm_words"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder.parent)
    words = InstalledModel(
        name="words", module="llm_words", distribution="llm-words", command="pip install it"
    )
    path = folder / "words.gguf"
    write_tiny_gguf(path)
    with container.packages.override(providers.Object(ChainStore((InstalledStore((words,)),)))):
        container.random_store.reset()
        yield path
    container.random_store.reset()


@pytest.mark.parametrize("kind", ["package", "file", "folder", "Path"])
def test_every_name_of_a_model_is_one_of_its_tokenizer(hub: LoopbackHub, gguf: Path, kind: str) -> None:
    names: dict[str, str | Path] = {"package": "words", "file": str(gguf), "folder": str(gguf.parent)}
    name = names.get(kind, gguf)
    with load(name) as llm, LLM.load(gguf, distribute=None, quiet=True) as whole:
        assert llm.tokenizer.encode("Hello").tolist() == whole.tokenizer.encode("Hello").tolist()
        assert Tokenizer(name).encode("Hello").tolist() == whole.tokenizer.encode("Hello").tolist()
    assert hub.requests == []


@pytest.mark.parametrize("kind", ["package", "file", "folder"])
def test_every_name_of_a_model_is_one_of_its_config_and_tokenizer(
    hub: LoopbackHub, gguf: Path, kind: str
) -> None:
    name = {"package": "words", "file": str(gguf), "folder": str(gguf.parent)}[kind]
    with LLM.load(name, init="random", distribute=None, quiet=True) as llm:
        assert llm.config.n_layer == 2
        assert llm.tokenizer.vocab_size == 259
    assert hub.requests == []


@pytest.mark.usefixtures("hub", "gguf")
@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("", InvalidArgument, "tokenizer_dir must be a name"),
        (5, WrongType, "tokenizer_dir must be a name or a path, as a string, not int 5"),
        ("wrods", ModelNotFound, "Did you mean words.*asked for as tokenizer_dir"),
        ("{}/nothing", MissingFile, "the folder has no tokenizer. Pass a folder"),
        ("{}/nothing/file.txt", InvalidCheckpoint, "file.txt is not a GGUF file"),
    ],
)
def test_a_missing_tokenizer_is_an_error_naming_the_argument_or_the_file(
    tmp_path: Path, name: object, kind: type[Exception], says: str
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "file.txt").write_text("no tokenizer")
    (tmp_path / "nothing" / "config.json").write_text(json.dumps({}))
    requested: Any = name.format(tmp_path) if isinstance(name, str) else name
    with pytest.raises(kind, match=says):
        load(requested)
