"""Tests of opening and downloading from a Hub: the requests, and the cache when the Hub is unreachable."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.hub.repository import INITIAL_RANGE
from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import CorruptFile, HubUnreachable, MissingFile, UnsafeFile, UnsupportedOperation
from litgpt.domain.progress import Notice, Progress, null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters import hub_repositories as repositories
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.tiny_models import tiny_folder
from tests.contracts.model_store import ModelStoreContract

TINY = ModelReference("org/tiny")
NEWEST = attrs.evolve(TINY, offline=False)


def fetched(store: HubStore[Any], reference: ModelReference = TINY) -> Path:
    checkpoint = store.open(reference)
    checkpoint.fetch(null_reporter)
    assert checkpoint.folder is not None
    return checkpoint.folder


class TestHubStore(ModelStoreContract):
    model = "org/tiny"

    @pytest.fixture
    def store(self, hub: LoopbackHub, tmp_path: Path) -> HubStore[Any]:
        store = HubStore(open_hf_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
        store.open(TINY)  # so that the cache knows its name; the weights are still on the Hub
        return store


class TestHubStoreWithShards(TestHubStore):
    @pytest.fixture
    def hub(self, tmp_path: Path) -> Iterator[LoopbackHub]:
        repositories.sharded(tmp_path / "hub" / "org" / "tiny")
        with LoopbackHub(tmp_path / "hub") as running:
            yield running


class TestHubStoreWithoutNetwork(TestHubStore):
    @pytest.fixture
    def store(self, hub: LoopbackHub, tmp_path: Path) -> HubStore[Any]:
        store = HubStore(open_hf_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
        fetched(store)
        hub.broken_with = 500
        return store


# What crosses the network


def test_opening_reads_the_headers_and_none_of_the_weights(hub: LoopbackHub, store: HubStore[Any]) -> None:
    folder = hub.root / "org" / "large"
    repositories.one_file(folder, rows=1000)
    checkpoint = store.open(ModelReference("org/large"))
    assert checkpoint.tensors == open_hf_folder(folder, "org/large").tensors
    assert hub.sent["org/large/model.safetensors"] == INITIAL_RANGE
    assert (folder / "model.safetensors").stat().st_size > 10 * INITIAL_RANGE


def test_opening_downloads_the_small_files_that_are_needed_and_no_others(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    checkpoint = store.open(TINY)
    assert {key.removeprefix("org/tiny/") for key in hub.sent} == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",  # its header
    }
    assert checkpoint.config == repositories.CONFIG
    assert checkpoint.generation_config == {"temperature": 0.6}


def test_a_tokenizer_without_tokenizer_json_comes_in_its_parts(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    folder = hub.root / "org" / "tiny"
    (folder / "tokenizer.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_text(name)
    store.open(TINY)
    assert hub.sent["org/tiny/vocab.json"]
    assert hub.sent["org/tiny/merges.txt"]


def test_a_header_longer_than_the_first_read_is_read_in_two(hub: LoopbackHub, store: HubStore[Any]) -> None:
    folder = hub.root / "org" / "wordy"
    repositories.one_file(folder, rows=1000, note="x" * 2 * INITIAL_RANGE)
    checkpoint = store.open(ModelReference("org/wordy"))
    assert checkpoint.tensors == open_hf_folder(folder, "org/wordy").tensors
    assert 2 * INITIAL_RANGE < hub.sent["org/wordy/model.safetensors"] < 2 * INITIAL_RANGE + 1000


@pytest.mark.parametrize("note", ["", "x" * 2 * INITIAL_RANGE])
def test_a_server_without_range_support_works(hub: LoopbackHub, store: HubStore[Any], note: str) -> None:
    folder = hub.root / "org" / "tiny"
    repositories.one_file(folder, rows=1000, note=note)
    hub.without_ranges = True
    assert store.open(TINY).tensors == open_hf_folder(folder, "org/tiny").tensors


def test_fetching_brings_only_the_files_that_the_index_names(hub: LoopbackHub, store: HubStore[Any]) -> None:
    repositories.sharded(hub.root / "org" / "split")
    (hub.root / "org" / "split" / "consolidated.safetensors").write_bytes(b"the same weights again")
    folder = fetched(store, ModelReference("org/split"))
    assert {path.name for path in folder.glob("*.safetensors")} == set(repositories.SHARDS)
    assert not (folder / "pytorch_model.bin").exists()


def test_fetched_weights_are_the_repositorys(store: HubStore[Any]) -> None:
    checkpoint = store.open(TINY)
    checkpoint.fetch(null_reporter)
    for name, tensor in repositories.weights().items():
        assert (checkpoint.read(name).numpy() == tensor).all()


def test_reading_before_the_download_is_an_error_with_the_remedy(store: HubStore[Any]) -> None:
    with pytest.raises(MissingFile, match=r"fetch\(\)"):
        store.open(TINY).read("model.norm.weight")


def test_cached_files_are_not_downloaded_again(hub: LoopbackHub, store: HubStore[Any]) -> None:
    repositories.sharded(hub.root / "org" / "split")
    split = ModelReference("org/split")
    lost = fetched(store, split) / repositories.SHARDS[1]
    lost.resolve().unlink()
    lost.unlink()
    hub.sent.clear()
    fetched(store, split)
    assert {key for key, count in hub.sent.items() if count} == {f"org/split/{repositories.SHARDS[1]}"}


# A second load


def test_a_second_load_sends_no_request(hub: LoopbackHub, store: HubStore[Any]) -> None:
    fetched(store)
    hub.requests.clear()
    reloaded = store.open(TINY)
    reloaded.fetch(null_reporter)
    assert reloaded.read("model.norm.weight").shape == (8,)
    assert hub.requests == []


def test_a_model_whose_weights_were_never_fetched_is_not_found_offline(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    store.open(TINY)
    hub.requests.clear()
    with pytest.raises(HubUnreachable, match=r"org/tiny.*offline"):
        store.open(attrs.evolve(TINY, offline=True))
    assert hub.requests == []


def test_a_model_without_a_tokenizer_is_found_offline_too(hub: LoopbackHub, store: HubStore[Any]) -> None:
    (hub.root / "org" / "tiny" / "tokenizer.json").unlink()
    fetched(store)
    hub.requests.clear()
    assert store.open(attrs.evolve(TINY, offline=True)).config == repositories.CONFIG
    assert hub.requests == []


def test_a_newer_revision_is_looked_up_on_request(hub: LoopbackHub, store: HubStore[Any]) -> None:
    before = fetched(store)
    (hub.root / "org" / "tiny" / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert store.open(TINY).config["model_type"] == "llama"
    hub.sent.clear()
    after = fetched(store, NEWEST)
    assert after != before
    assert hub.sent["org/tiny/config.json"]
    assert not hub.sent["org/tiny/tokenizer.json"]  # it has not changed
    assert store.open(TINY).config["model_type"] == "qwen2"


def test_opening_a_newer_revision_does_not_hide_the_complete_one(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    fetched(store)
    repositories.one_file(hub.root / "org" / "tiny", rows=20)
    assert store.open(NEWEST).tensors["model.embed_tokens.weight"].shape == (20, 1024)
    offline = store.open(attrs.evolve(TINY, offline=True))
    assert offline.tensors["model.embed_tokens.weight"].shape == (16, 1024)
    assert offline.read("model.norm.weight").shape == (8,)


def test_a_commit_is_found_offline_by_its_name(hub: LoopbackHub, store: HubStore[Any]) -> None:
    commit = hub.commit("org/tiny")
    fetched(store, ModelReference("org/tiny", revision=commit))
    hub.requests.clear()
    assert commit[:12] in store.open(ModelReference("org/tiny", revision=commit, offline=True)).origin
    with pytest.raises(HubUnreachable):  # main was not requested yet
        store.open(attrs.evolve(TINY, revision="main", offline=True))


def test_a_hub_that_is_down_does_not_stop_what_is_in_the_cache(
    hub: LoopbackHub, store: HubStore[Any], caplog: pytest.LogCaptureFixture
) -> None:
    fetched(store)
    hub.broken_with = 503
    with caplog.at_level(logging.WARNING, "litgpt"):
        assert store.open(NEWEST).config == repositories.CONFIG
    assert "Using the cached files" in caplog.text
    assert "503" in caplog.text


def test_models_downloaded_by_other_programs_are_opened(hub: LoopbackHub, store: HubStore[Any]) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download("org/tiny", endpoint=hub.endpoint, cache_dir=store.cache_dir, tqdm_class=None)
    hub.requests.clear()
    assert store.open(TINY).read("model.norm.weight").shape == (8,)
    assert hub.requests == []


# While it downloads


def test_progress_is_the_sum_of_all_files(
    hub: LoopbackHub, store: HubStore[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    repositories.sharded(hub.root / "org" / "split")
    events: list[Notice | Progress] = []
    checkpoint = store.open(ModelReference("org/split"))
    checkpoint.fetch(events.append)
    total = sum((hub.root / "org" / "split" / shard).stat().st_size for shard in repositories.SHARDS)
    reported = [event for event in events if isinstance(event, Progress)]
    assert {(event.description, event.total, event.unit) for event in reported} == {
        ("Downloading org/split", total, "B")
    }
    done = [event.completed for event in reported]
    assert done == sorted(done)
    assert done[-1] == total
    assert len(set(done)) > 1
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_download_is_resumed(hub: LoopbackHub, store: HubStore[Any]) -> None:
    chunk = 10 * 2**20  # huggingface_hub writes in chunks of this size
    repositories.one_file(hub.root / "org" / "tiny", rows=2700)
    size = (hub.root / "org" / "tiny" / "model.safetensors").stat().st_size
    checkpoint = store.open(TINY)
    hub.sent.clear()
    hub.cut_once["org/tiny/model.safetensors"] = chunk + 1000
    events: list[Notice | Progress] = []
    checkpoint.fetch(events.append)
    assert hub.sent["org/tiny/model.safetensors"] == size + 1000
    assert events[-1] == Progress("Downloading org/tiny", size, size, unit="B")
    for name, tensor in repositories.weights(2700).items():
        assert (checkpoint.read(name).numpy() == tensor).all()


def test_a_disk_without_enough_space_is_reported_before_the_download(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    full = attrs.evolve(store, free_bytes=lambda _: 50_000_000)
    repositories.one_file(hub.root / "org" / "large", rows=20_000)
    checkpoint = full.open(ModelReference("org/large"))
    hub.requests.clear()
    with pytest.raises(UnsupportedOperation, match=r"0\.08 GB.*0\.05 GB"):
        checkpoint.fetch(null_reporter)
    assert hub.requests == []


# Repositories that cannot be used


def test_a_repository_with_nothing_but_pickles_is_refused_before_anything_is_downloaded(
    hub: LoopbackHub, store: HubStore[Any]
) -> None:
    (hub.root / "org" / "tiny" / "model.safetensors").unlink()
    with pytest.raises(UnsafeFile, match=r"org/tiny/pytorch_model\.bin"):
        store.open(TINY)
    assert not hub.sent


def test_a_repository_of_gguf_files_has_them_listed(hub: LoopbackHub, store: HubStore[Any]) -> None:
    repositories.small_files(hub.root / "org" / "quantized")
    for name in ("a-Q4_0.gguf", "a-Q8_0.gguf"):
        (hub.root / "org" / "quantized" / name).write_bytes(b"GGUF")
    with pytest.raises(
        MissingFile, match=r"a-Q4_0\.gguf, a-Q8_0\.gguf.*hf download org/quantized a-Q4_0\.gguf"
    ):
        store.open(ModelReference("org/quantized"))


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_a_missing_file_of_a_repository_is_named(hub: LoopbackHub, store: HubStore[Any], lost: str) -> None:
    for name in (lost, "pytorch_model.bin"):
        (hub.root / "org" / "tiny" / name).unlink()
    with pytest.raises(MissingFile, match=f"org/tiny/{lost}"):
        store.open(TINY)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8 + b"{}", b"\x02" + b"\0" * 7 + b"{x"])
def test_a_header_that_cannot_be_true_is_found_before_the_weights_are_downloaded(
    hub: LoopbackHub, store: HubStore[Any], content: bytes
) -> None:
    (hub.root / "org" / "tiny" / "model.safetensors").write_bytes(content)
    with pytest.raises(CorruptFile, match=r"model\.safetensors"):
        store.open(TINY)


@pytest.mark.parametrize("shard", ["../../outside.safetensors", "/etc/outside.safetensors", 7, ["a"]])
def test_an_index_that_leads_elsewhere_is_refused(
    hub: LoopbackHub, store: HubStore[Any], shard: object
) -> None:
    folder = hub.root / "org" / "split"
    repositories.sharded(folder)
    (folder / repositories.INDEX).write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CorruptFile, match=r"index\.json"):
        store.open(ModelReference("org/split"))


def test_a_shard_that_the_repository_lacks_is_named(hub: LoopbackHub, store: HubStore[Any]) -> None:
    repositories.sharded(hub.root / "org" / "split")
    (hub.root / "org" / "split" / repositories.SHARDS[1]).unlink()
    with pytest.raises(MissingFile, match=repositories.SHARDS[1]):
        store.open(ModelReference("org/split"))


# What is in the cache without a branch


def test_a_commit_without_a_branch_is_found_offline_and_noted(hub: LoopbackHub, store: HubStore[Any]) -> None:
    commit = hub.commit("org/tiny")
    fetched(store, attrs.evolve(TINY, revision=commit))
    offline = attrs.evolve(TINY, offline=True)
    opened = store.open(offline)
    assert commit[:12] in opened.origin
    assert f"does not record the branch of commit {commit[:12]}" in opened.notes[0]
    assert store.open(attrs.evolve(offline, revision=commit[:8])).origin == opened.origin
    (hub.root / "org" / "tiny" / "README.md").write_text("Another version.")
    fetched(store, attrs.evolve(TINY, revision=hub.commit("org/tiny")))
    with pytest.raises(HubUnreachable, match=rf"is in the local cache at other commits only.*{commit}"):
        store.open(offline)


def test_an_incompletely_cached_model_is_reported_as_such(store: HubStore[Any]) -> None:
    store.open(TINY)
    with pytest.raises(HubUnreachable, match="is in the local cache without all of its weights"):
        store.open(attrs.evolve(TINY, offline=True))


def test_an_unneeded_missing_shard_is_ignored_offline_too(hub: LoopbackHub, store: HubStore[Any]) -> None:
    folder = hub.root / "org" / "sharded"
    shutil.copytree(tiny_folder("llama", sharded=True), folder)
    index = folder / repositories.INDEX
    config = json.loads(index.read_text())
    config["weight_map"]["mtp.fc.weight"] = "mtp.safetensors"
    index.write_text(json.dumps(config))
    reference = ModelReference("org/sharded")
    fetched(store, reference)
    assert "mtp.fc.weight" not in store.open(attrs.evolve(reference, offline=True)).tensors
