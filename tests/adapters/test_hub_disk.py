"""Tests of a full disk and of an unusable cache during a download from the Hub."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from litgpt.adapters.hub.datasets import HubDatasets
from litgpt.adapters.hub.errors import translate_errors
from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import LitGPTError, UnsupportedOperation
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters import hub_repositories as repositories
from tests.adapters.loopback_hub import LoopbackHub

TINY = ModelReference("org/tiny")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Limit the file size of this process, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_while_weights_come_is_named_and_nothing_half_written_stays(
    hub: LoopbackHub, store: HubStore[Any], tmp_path: Path
) -> None:
    repositories.one_file(hub.root / "org" / "large", rows=5_000)
    checkpoint = store.open(ModelReference("org/large"))
    message = r"Downloading org/large/model\.safetensors \(0\.02 GB\).*GB are free.*HF_HOME"
    with largest_file(100_000), pytest.raises(UnsupportedOperation, match=message) as caught:
        checkpoint.fetch(null_reporter)
    assert str(tmp_path / "cache") in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    checkpoint.fetch(null_reporter)
    assert checkpoint.read("model.norm.weight").shape == (8,)


@pytest.mark.parametrize("place", ["a file", "below a file", "a loop", "a long name", "a device"])
def test_an_unusable_cache_folder_is_named_with_the_remedy(
    hub: LoopbackHub, store: HubStore[Any], tmp_path: Path, place: str
) -> None:
    (tmp_path / "a file").write_text("x")
    (tmp_path / "a loop").symlink_to(tmp_path / "a loop")
    places = {"below a file": "a file/hub", "a long name": "a" * 300, "a device": "/dev/null/hub"}
    cache = tmp_path / places.get(place, place)
    store = attrs.evolve(store, cache_dir=cache)
    for look in (store.open, store.tokenizer, store.config_file):
        with pytest.raises(UnsupportedOperation, match="Set HF_HOME") as caught:
            look(TINY)
        assert str(cache)[:60] in str(caught.value)
    birds = hub.root / "datasets" / "org" / "birds"
    birds.mkdir(parents=True)
    (birds / "train.json").write_text("[]")
    datasets = HubDatasets(hub.endpoint, cache)
    with pytest.raises(UnsupportedOperation, match="Set HF_HOME"):
        datasets(ModelReference("org/birds"), ["*.json"], null_reporter)


def test_a_full_disk_during_a_xet_download_is_reported_as_such() -> None:
    error = RuntimeError("Task error: File I/O error, No space left on device (os error 28)")
    with pytest.raises(OSError, match="No space left"), translate_errors(TINY, hub="the Hub", page=""):
        raise error


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("y"), AssertionError(), OSError("z"), ConnectionResetError(104, "")]
)
def test_an_unexpected_exception_is_a_litgpt_error(error: Exception) -> None:
    with pytest.raises(LitGPTError, match="org/tiny"), translate_errors(TINY, hub="the Hub", page=""):
        raise error
