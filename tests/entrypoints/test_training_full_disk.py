"""Tests of training on a disk that fills up: it continues, and trained weights are kept."""

import resource
import shutil
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from litgpt import LLM
from litgpt.domain.errors import LitGPTError, UnsupportedOperation
from litgpt.domain.progress import Notice, Progress, null_reporter
from litgpt.training import train
from litgpt.training_run.training_io import save_checkpoint_as_model
from tests.entrypoints.small_runs import checkpoints, losses, train_config

pytestmark = pytest.mark.usefixtures("one_thread")

# What a run reports whether or not the disk is full.
_ALWAYS_REPORTED = ("Training ", "Step ", "Validat", "steps  ")


class NoticeRecorder:
    """Records notices, and fills the disk, or limits the file size, after a step.

    Args:
        step: The step.
        limit: The maximum file size from then on.
    """

    def __init__(self, step: int, limit: int) -> None:
        self.step, self.limit, self.notices = step, limit, list[str]()

    def __call__(self, event: Notice | Progress) -> None:
        if isinstance(event, Notice):
            if not event.text.startswith(_ALWAYS_REPORTED):
                self.notices.append(event.text)
        elif event.description == "Training" and event.completed == self.step:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.RLIM_INFINITY))


@contextmanager
def room_again() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_does_not_end_training_and_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    config = train_config(tmp_path, save_every=2, max_steps=6)
    events = NoticeRecorder(3, 700_000)  # enough for the model, and not for its moments
    with room_again():
        done = train(config, report=events)
    good = tmp_path / "out/checkpoints/step-00000002.ckpt"
    *failures, saved = events.notices
    assert failures == [
        f"The checkpoint of step {step} was not saved: file too large. The last checkpoint is {good}."
        for step in (4, 6, 6)
    ]
    assert saved.startswith(f"Saved to {tmp_path / 'out/model'}: ")
    assert checkpoints(tmp_path / "out") == [good.name]
    assert done.checkpoint == good
    assert len(losses(tmp_path / "out")) == 6
    assert done.saved is not None
    assert LLM.load(done.saved, quiet=True).generate("hello", max_new_tokens=2)


def test_when_the_model_cannot_be_saved_the_checkpoint_is_there_and_what_makes_a_model_of_it(
    tmp_path: Path,
) -> None:
    events = NoticeRecorder(3, 50_000)
    with room_again(), pytest.raises((LitGPTError, OSError)):
        train(train_config(tmp_path, save_every=2, max_steps=4), report=events)
    good = tmp_path / "out/checkpoints/step-00000002.ckpt"
    assert checkpoints(tmp_path / "out") == [good.name]
    assert f"`litgpt convert {good} FOLDER`" in events.notices[-1]
    save_checkpoint_as_model(good, tmp_path / "made", null_reporter)
    assert LLM.load(tmp_path / "made", quiet=True).generate("hello", max_new_tokens=2)


def test_insufficient_disk_space_is_an_error_with_figures_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ("total", "used", "free"))  # noqa: PYI024 - as shutil has it
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
        with pytest.raises(
            UnsupportedOperation, match=r"checkpoints take 0\.\d+ GB, the disk has 0\.0 GB free"
        ):
            train(train_config(tmp_path), report=null_reporter)
    assert losses(tmp_path / "out") == []


def test_an_unwritable_table_or_plot_is_reported_and_training_continues(tmp_path: Path) -> None:
    out, notices = tmp_path / "out", list[str]()
    (out / "loss.png").mkdir(parents=True)

    def fill(event: Notice | Progress) -> None:
        if isinstance(event, Notice):
            if not event.text.startswith(_ALWAYS_REPORTED):
                notices.append(event.text)
        elif event.description == "Training" and event.completed == 2:
            (out / "metrics.csv").rename(out / "kept.csv")
            (out / "metrics.csv").symlink_to("/dev/full")
        elif event.description == "Training" and event.completed == 5:
            (out / "metrics.csv").unlink()
            (out / "kept.csv").rename(out / "metrics.csv")

    train(train_config(tmp_path, max_steps=6), report=fill)
    assert [step for step, _ in losses(out)] == ["1", "2", "6"]
    assert notices[0] == f"{out / 'metrics.csv'} was not updated at step 3: no space left on device."
    assert notices[-1] == "The losses were not drawn: is a directory."
    assert len(notices) == 3
