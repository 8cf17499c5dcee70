"""Tests of downloading a model, with a store in memory."""

from pathlib import Path

import attrs
import pytest

from litgpt.application.download_model import DownloadModel
from litgpt.domain.errors import HubUnreachable, ModelNotFound
from litgpt.domain.progress import Notice, Progress, Reporter, null_reporter
from litgpt.domain.reference import ModelReference
from litgpt.testing import MemoryCheckpoint, MemoryStore, MemoryTensor


def tiny() -> MemoryCheckpoint:
    weights = {"norm": MemoryTensor((4,)), "head": MemoryTensor((1000, 500), "bfloat16")}
    return MemoryCheckpoint({"model_type": "llama"}, weights, folder=Path("models/tiny"))


def test_a_download_reports_size_and_destination() -> None:
    events: list[Notice | Progress] = []
    downloaded = DownloadModel(MemoryStore({"tiny": tiny()}))(ModelReference("tiny"), events.append)
    assert (downloaded.name, downloaded.folder) == ("tiny", Path("models/tiny"))
    assert events == [Notice("the model tiny in memory: 0.5 million weights, 1.0 MB")]


def test_a_download_fetches_the_weights_once_and_closes_the_checkpoint() -> None:
    checkpoint = tiny()
    DownloadModel(MemoryStore({"tiny": checkpoint}))(ModelReference("tiny"), null_reporter)
    assert (checkpoint.source.fetched, checkpoint.source.was_read, checkpoint.source.closed) == (1, [], True)


@pytest.mark.parametrize(("requested", "passed_on"), [(None, False), (True, True), (False, False)])
def test_a_download_requests_the_newest_revision_unless_offline(
    *, requested: bool | None, passed_on: bool
) -> None:
    store = MemoryStore({"tiny": tiny()})
    DownloadModel(store)(ModelReference("tiny", "v1", offline=requested, token="secret"), null_reporter)  # noqa: S106
    assert store.references == [ModelReference("tiny", "v1", offline=passed_on, token="secret")]  # noqa: S106


def test_an_unknown_model_is_not_downloaded() -> None:
    with pytest.raises(ModelNotFound, match="no-such-model"):
        DownloadModel(MemoryStore())(ModelReference("no-such-model"), null_reporter)


@attrs.frozen
class FailingDownload(MemoryCheckpoint):
    """A model whose weights fail to download."""

    def fetch(self, report: Reporter) -> None:
        report(Progress("tiny", 1, 2, unit="B"))
        raise HubUnreachable(self.name, "the line is cut.")


def test_a_download_that_breaks_off_is_an_error_and_closes_the_checkpoint_all_the_same() -> None:
    checkpoint = FailingDownload(folder=Path("models/tiny"))
    events: list[Notice | Progress] = []
    with pytest.raises(HubUnreachable, match="the line is cut"):
        DownloadModel(MemoryStore({"tiny": checkpoint}))(ModelReference("tiny"), events.append)
    assert events[-1] == Progress("tiny", 1, 2, unit="B")
    assert checkpoint.source.closed
