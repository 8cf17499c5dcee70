"""Tests of dataset files from a Hub: the requests, and the cache when the Hub is unreachable."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from litgpt.adapters.hub.datasets import HubDatasets
from litgpt.domain.errors import AccessDenied, HubUnreachable, UnsupportedOperation
from litgpt.domain.progress import Notice, Progress, null_reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.training.errors import DataNotFound
from tests.adapters.loopback_hub import LONG, LoopbackHub, refused_port

BIRDS = ModelReference("org/birds")
PATTERNS = ("*.jsonl", "*.json")
CONTENT = b'{"prompt": "a", "completion": "b"}\n' * 200
KEY = "datasets/org/birds"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    folder = tmp_path / "hub" / KEY
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("Birds.")
    (folder / "birds.json").write_text("[]")
    (folder / "data").mkdir()
    (folder / "data" / "birds.jsonl").write_bytes(CONTENT)
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def datasets(hub: LoopbackHub, tmp_path: Path) -> HubDatasets:
    return HubDatasets(endpoint=hub.endpoint, cache_dir=tmp_path / "cache", timeout=LONG)


def test_the_file_that_fits_best_is_brought_and_nothing_else(datasets: HubDatasets, hub: LoopbackHub) -> None:
    path = datasets(BIRDS, PATTERNS, null_reporter)
    assert path.read_bytes() == CONTENT
    assert path.name == "birds.jsonl"
    assert {name for name, count in hub.sent.items() if count > 1} == {f"{KEY}/data/birds.jsonl"}


def test_the_file_is_in_the_shared_hub_cache(datasets: HubDatasets, tmp_path: Path) -> None:
    path = datasets(BIRDS, PATTERNS, null_reporter)
    assert path.relative_to(tmp_path / "cache").parts[0] == "datasets--org--birds"


def test_the_download_is_reported_to_its_end(datasets: HubDatasets) -> None:
    reported: list[Notice | Progress] = []
    datasets(BIRDS, PATTERNS, reported.append)
    assert reported[-1] == Progress("Downloading org/birds", len(CONTENT), len(CONTENT), unit="B")


def test_cached_data_are_used_without_a_request(datasets: HubDatasets, hub: LoopbackHub) -> None:
    path = datasets(BIRDS, PATTERNS, null_reporter)
    hub.requests.clear()
    assert datasets(BIRDS, PATTERNS, null_reporter) == path
    assert datasets(attrs.evolve(BIRDS, offline=True), PATTERNS, null_reporter) == path
    assert hub.requests == []


def test_a_custom_folder_is_a_separate_cache(datasets: HubDatasets, tmp_path: Path) -> None:
    path = datasets(BIRDS, PATTERNS, null_reporter, download_dir=tmp_path / "mine")
    assert path.is_relative_to(tmp_path / "mine")


def test_offline_mode_sends_no_request(datasets: HubDatasets, hub: LoopbackHub) -> None:
    with pytest.raises(HubUnreachable, match="offline mode is on"):
        datasets(attrs.evolve(BIRDS, offline=True), PATTERNS, null_reporter)
    assert hub.requests == []


def test_an_absent_hub_is_reported(tmp_path: Path) -> None:
    datasets = HubDatasets(endpoint=refused_port(), cache_dir=tmp_path, timeout=LONG)
    with pytest.raises(HubUnreachable, match="org/birds"):
        datasets(BIRDS, PATTERNS, null_reporter)


def test_an_unknown_dataset_is_not_found(datasets: HubDatasets) -> None:
    for name in ("org/fish", "birds"):
        with pytest.raises(DataNotFound, match=r"The data set .* was not found"):
            datasets(ModelReference(name), PATTERNS, null_reporter)
    with pytest.raises(DataNotFound, match="nowhere"):
        datasets(attrs.evolve(BIRDS, revision="nowhere"), PATTERNS, null_reporter)


def test_a_dataset_without_matching_files_lists_its_files(datasets: HubDatasets) -> None:
    with pytest.raises(DataNotFound, match=r"no file \*\.parquet; it has README\.md, birds\.json"):
        datasets(BIRDS, ("*.parquet",), null_reporter)


def test_a_gated_dataset_is_an_error_with_the_page_to_accept(datasets: HubDatasets, hub: LoopbackHub) -> None:
    hub.gated.add(KEY)
    with pytest.raises(AccessDenied, match="/datasets/org/birds"):
        datasets(BIRDS, PATTERNS, null_reporter)


def test_a_disk_without_enough_space_is_found_first(datasets: HubDatasets, hub: LoopbackHub) -> None:
    with pytest.raises(UnsupportedOperation, match="GB free"):
        attrs.evolve(datasets, free_bytes=lambda _: 10)(BIRDS, PATTERNS, null_reporter)
    assert hub.sent[f"{KEY}/data/birds.jsonl"] <= 1


def test_a_cached_file_is_used_if_the_hub_does_not_answer(
    datasets: HubDatasets, hub: LoopbackHub, caplog: pytest.LogCaptureFixture
) -> None:
    path, newer = datasets(BIRDS, PATTERNS, null_reporter), attrs.evolve(BIRDS, offline=False)
    hub.requests.clear()
    assert datasets(newer, PATTERNS, null_reporter) == path
    assert hub.requests
    down = attrs.evolve(datasets, endpoint=refused_port())
    assert down(newer, PATTERNS, null_reporter) == path
    assert "Using the cached files of org/birds, which may be outdated" in caplog.text
