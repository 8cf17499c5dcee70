"""Tests of a tokenizer from a Hub: only its files are downloaded."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import AccessDenied, HubUnreachable, MissingFile, ModelNotFound
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters import hub_repositories as repositories
from tests.adapters.loopback_hub import LoopbackHub

TINY = ModelReference("org/tiny")
FILES = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    repositories.sharded(tmp_path / "hub" / "org" / "tiny")
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


def test_only_the_tokenizers_files_are_requested(hub: LoopbackHub, store: HubStore[Any]) -> None:
    files = store.tokenizer(TINY)
    assert set(files.paths) == FILES
    assert {key.removeprefix("org/tiny/") for key in hub.sent} == FILES
    assert json.loads(files.paths["tokenizer.json"].read_bytes())["padding"]
    about_files = [request for request in hub.requests if "/resolve/" in request]
    assert {
        about_file.rpartition("/")[2] for about_file in about_files
    } == FILES  # no header of a weight, no index, no style


def test_a_repository_without_weights_may_have_a_tokenizer(hub: LoopbackHub, store: HubStore[Any]) -> None:
    folder = hub.root / "org" / "words"
    folder.mkdir()
    (folder / "tokenizer.model").write_bytes(b"pieces")
    (folder / "vocab.json").write_text("{}")
    assert set(store.tokenizer(ModelReference("org/words")).paths) == {"tokenizer.model", "vocab.json"}


@pytest.mark.parametrize(
    "files",
    [{"vocab.json", "merges.txt"}, {"vocab.txt"}, {"tekken.json"}, {"tiktoken.model"}, {"x.tiktoken"}],
)
def test_older_forms_of_a_vocabulary_are_a_tokenizer(
    hub: LoopbackHub, store: HubStore[Any], files: set[str]
) -> None:
    folder = hub.root / "org" / "words"
    folder.mkdir()
    beside = {"added_tokens.json", "special_tokens_map.json", "tokenizer_config.json"}
    for file in (*files, *beside, "vocab.bin", "original.json"):
        (folder / file).write_text("{}")
    words = ModelReference("org/words")
    assert set(store.tokenizer(words).paths) == {*files, *beside}
    hub.requests.clear()
    assert set(store.tokenizer(words).paths) == {*files, *beside}
    assert hub.requests == []


def test_a_repository_without_a_tokenizer_is_an_error_without_a_download(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    folder = hub.root / "org" / "mute"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(MissingFile, match=r"org/mute/tokenizer\.json.*no supported tokenizer.*config\.json"):
        store.tokenizer(ModelReference("org/mute"))
    assert not hub.sent


def test_a_cached_tokenizer_is_used_without_a_request(hub: LoopbackHub, store: HubStore[Any]) -> None:
    first = store.tokenizer(TINY)
    hub.requests.clear()
    assert store.tokenizer(TINY) == first
    assert store.tokenizer(attrs.evolve(TINY, offline=True)) == first
    assert hub.requests == []


def test_a_models_tokenizer_is_in_the_cache_with_it(hub: LoopbackHub, store: HubStore[Any]) -> None:
    store.open(TINY).fetch(null_reporter)
    hub.requests.clear()
    assert set(store.tokenizer(TINY).paths) == FILES
    assert hub.requests == []


def test_a_model_cached_without_its_tokenizer_gets_it(store: HubStore[Any]) -> None:
    folder = store.open(TINY).folder
    assert folder is not None
    store.open(TINY).fetch(null_reporter)
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json" in store.tokenizer(TINY).paths


def test_a_cached_tokenizer_is_not_mistaken_for_a_model(hub: LoopbackHub, store: HubStore[Any]) -> None:
    store.tokenizer(TINY)
    with pytest.raises(HubUnreachable):
        store.open(attrs.evolve(TINY, offline=True))
    assert store.open(TINY).tensors
    assert hub.sent["org/tiny/model.safetensors.index.json"]


def test_a_newer_tokenizer_does_not_hide_an_older_model_that_is_complete(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    store.open(TINY).fetch(null_reporter)
    (hub.root / "org" / "tiny" / "tokenizer.json").write_text('{"padding": "newer"}')
    newer = store.tokenizer(attrs.evolve(TINY, offline=False))
    assert "newer" in newer.paths["tokenizer.json"].read_text()
    hub.broken_with = 500
    assert store.open(attrs.evolve(TINY, offline=True)).tensors


def test_the_newest_revision_is_requested_with_the_cache_as_fallback(
    hub: LoopbackHub, store: HubStore[Any], caplog: pytest.LogCaptureFixture
) -> None:
    old = store.tokenizer(TINY)
    (hub.root / "org" / "tiny" / "tokenizer.json").write_text('{"padding": "newer"}')
    newest = attrs.evolve(TINY, offline=False)
    assert store.tokenizer(TINY) == old
    new = store.tokenizer(newest)
    assert new != old
    hub.broken_with = 503
    with caplog.at_level(logging.WARNING):
        assert store.tokenizer(newest) == new
    assert "Using the cached files of org/tiny" in caplog.text


def test_an_uncached_tokenizer_requires_the_hub(hub: LoopbackHub, store: HubStore[Any]) -> None:
    with pytest.raises(HubUnreachable, match="offline mode is on"):
        store.tokenizer(attrs.evolve(TINY, offline=True))
    assert hub.requests == []
    hub.broken_with = 503
    with pytest.raises(HubUnreachable, match="503"):
        store.tokenizer(TINY)


@pytest.mark.parametrize("name", ["org/nothing", "no/such/folder", "nothing"])
def test_an_unknown_tokenizer_repository_is_not_found(store: HubStore[Any], name: str) -> None:
    with pytest.raises(ModelNotFound, match="Looked in: the Hugging Face Hub"):
        store.tokenizer(ModelReference(name))


def test_a_gated_tokenizer_is_refused(hub: LoopbackHub, store: HubStore[Any]) -> None:
    hub.gated.add("org/tiny")
    with pytest.raises(AccessDenied):
        store.tokenizer(TINY)


def test_an_interrupted_download_is_not_a_complete_tokenizer(hub: LoopbackHub, store: HubStore[Any]) -> None:
    hub.gated.add("org/tiny")
    with pytest.raises(AccessDenied):
        store.tokenizer(TINY)
    with pytest.raises(HubUnreachable):
        store.tokenizer(attrs.evolve(TINY, offline=True))
    hub.gated.clear()
    assert set(store.tokenizer(TINY).paths) == FILES


def test_a_config_is_downloaded_alone_and_then_found_without_the_hub(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    path = store.config_file(TINY)
    assert {key.removeprefix("org/tiny/") for key in hub.sent} == {"config.json"}
    assert store.config_file(attrs.evolve(TINY, offline=True)) == path
    (hub.root / "org" / "bare").mkdir()
    with pytest.raises(MissingFile, match=r"org/bare/config\.json"):
        store.config_file(ModelReference("org/bare"))
