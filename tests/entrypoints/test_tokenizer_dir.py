"""A tokenizer from elsewhere: a folder, or a repository of which only the tokenizer is fetched."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dependency_injector import providers

from litgpt import LLM, Tokenizer
from litgpt.adapters.checkpoints.folder import open_folder
from litgpt.adapters.hub.store import HubStore
from litgpt.container import container
from litgpt.domain.errors import HubUnreachable, ModelNotFound
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """Yield a Hub with the repository `org/words`, a whole model of which the tokenizer is wanted."""
    shutil.copytree(tiny_folder("llama"), tmp_path / "hub" / "org" / "words")
    with LoopbackHub(tmp_path / "hub") as running:
        store = HubStore(open_folder, endpoint=running.endpoint, cache_dir=tmp_path / "cache")
        with container.hub.override(providers.Object(store)):
            yield running


def load(tokenizer_dir: str | Path, *, offline: bool | None = None) -> LLM:
    return LLM.load(
        tiny_folder("llama"), tokenizer_dir=tokenizer_dir, distribute=None, offline=offline, quiet=True
    )


@pytest.mark.parametrize("name", ["org/words", Path("org/words")])
def test_of_a_repository_only_the_tokenizer_is_fetched(hub: LoopbackHub, name: str | Path) -> None:
    with load(name) as llm, load(tiny_folder("llama")) as local:
        assert llm.tokenizer.encode("Hello").tolist() == local.tokenizer.encode("Hello").tolist()
    assert hub.sent["org/words/tokenizer.json"]
    assert [one for one in hub.requests if "safetensors" in one] == []


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


def test_a_name_that_is_neither_is_not_found_and_it_is_said_where_it_was_looked_for(hub: LoopbackHub) -> None:
    with pytest.raises(ModelNotFound, match=rf"'org/letters'\. Looked in: the path itself.*{hub.endpoint}"):
        load("org/letters")


def test_a_tokenizer_alone_comes_from_a_repository_as_well(hub: LoopbackHub) -> None:
    assert Tokenizer("org/words").vocab_size == Tokenizer(tiny_folder("llama")).vocab_size
    assert [one for one in hub.requests if "safetensors" in one] == []
