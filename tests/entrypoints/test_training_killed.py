"""A run that is killed, or finds its files damaged, resumes and loses nothing that can be redone."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from litgpt.adapters.training.checkpoints import to_resume
from litgpt.adapters.training.metrics import read_metrics
from litgpt.domain.errors import BadCheckpoint
from litgpt.domain.reporting import silent
from litgpt.domain.training.recipe import Recipe
from litgpt.training import train
from tests.entrypoints.small_runs import checkpoints, losses, recipe, validated
from tests.entrypoints.training_runs import Told

pytestmark = pytest.mark.usefixtures("one_thread")

KILLED_BEFORE_VALIDATION = """
import os, signal, sys, yaml
from litgpt.adapters.training.learning import Learning
from litgpt.domain.reporting import silent
from litgpt.domain.training.recipe import Recipe
from litgpt.training import train

step = int(sys.argv[2])

def kill(self):
    if self.trainer.global_step == step:
        os.kill(os.getpid(), signal.SIGKILL)

Learning.on_validation_start = kill
train(Recipe(**yaml.safe_load(open(sys.argv[1]))), report=silent)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Return the recipe of a run of 8 steps that validates after every second one."""
    asked = recipe(tmp_path_factory.mktemp("whole"), method="lora", max_steps=8, save_every=2, eval_every=2)
    train(asked, report=silent)
    return asked


@pytest.fixture(scope="module")
def by_epoch(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Return the recipe of a run of two epochs, each of which ends with a validation."""
    asked = recipe(tmp_path_factory.mktemp("epochs"), method="lora", epochs=2, save_every=1, val_split=0.1)
    train(asked, report=silent)
    return asked


def killed(asked: Recipe, folder: Path, step: int) -> Recipe:
    """Train in a process that is killed between the checkpoint of a step and its validation."""
    half = attrs.evolve(asked, out_dir=str(folder / "half"))
    train(attrs.evolve(half, max_steps=1, out_dir=str(folder / "first")), report=silent)  # writes a recipe
    text = (folder / "first/recipe.yaml").read_text(encoding="utf-8")
    text = text.replace(str(folder / "first"), half.out_dir)
    steps = "null" if asked.max_steps is None else str(asked.max_steps)
    (folder / "recipe.yaml").write_text(
        text.replace("max_steps: 1\n", f"max_steps: {steps}\n"), encoding="utf-8"
    )
    command = [sys.executable, "-c", KILLED_BEFORE_VALIDATION, str(folder / "recipe.yaml"), str(step)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoints(folder / "half") == [f"step-{step:08d}.ckpt"]
    return half


@pytest.mark.parametrize("step", [2, 4, 8])
def test_a_validation_that_a_kill_prevented_is_done_on_resuming(
    tmp_path: Path, whole: Recipe, step: int
) -> None:
    half = killed(whole, tmp_path, step)
    assert str(step) not in dict(validated(tmp_path / "half"))
    done = train(half, resume="last", report=silent)
    assert validated(tmp_path / "half") == validated(Path(whole.out_dir))
    assert losses(tmp_path / "half") == losses(Path(whole.out_dir))
    assert done.val_loss == pytest.approx(float(validated(tmp_path / "half")[-1][1]))


@pytest.mark.parametrize("epoch", [1, 2])
def test_the_validation_of_an_epoch_is_done_on_resuming_too(
    tmp_path: Path, by_epoch: Recipe, epoch: int
) -> None:
    half = killed(by_epoch, tmp_path, int(validated(Path(by_epoch.out_dir))[epoch - 1][0]))
    train(half, resume="last", report=silent)
    assert validated(tmp_path / "half") == validated(Path(by_epoch.out_dir))
    assert losses(tmp_path / "half") == losses(Path(by_epoch.out_dir))


def test_a_validation_that_was_done_is_not_done_again(tmp_path: Path, whole: Recipe) -> None:
    out = tmp_path / "out"
    first = attrs.evolve(whole, out_dir=str(out), max_steps=4)
    train(first, report=silent)
    train(attrs.evolve(first, max_steps=6), resume="last", report=silent)
    assert [step for step, _ in validated(out)] == ["2", "4", "6"]


@pytest.mark.parametrize("kind", ["empty", "zeros", "quote", "binary", "huge step", "folder", "no header"])
def test_a_metrics_file_that_cannot_be_read_is_reported_and_prevents_nothing(
    tmp_path: Path, whole: Recipe, kind: str
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole.out_dir, out)
    metrics = out / "metrics.csv"
    lines = metrics.read_bytes().splitlines(keepends=True)
    content = {
        "empty": b"",
        "zeros": b"\0" * 300,
        "quote": b"".join([*lines[:3], b'3,"0\n', *lines[3:]]),
        "binary": bytes(range(256)),
        "huge step": b"".join([*lines, b"9" * 6000 + b",0,1.0,,,,\r\n"]),
        "no header": b"".join(lines[1:])[:-7],
    }
    metrics.unlink()
    if kind == "folder":
        metrics.mkdir()
    else:
        metrics.write_bytes(content[kind])
    told = Told()
    more = attrs.evolve(whole, out_dir=str(out), max_steps=10)
    done = train(more, resume="last", report=told)
    assert done.steps == 10
    assert any(one.startswith(f"{metrics} is continued without some steps: ") for one in told.notices)
    if kind in ("quote", "huge step"):
        assert [step for step, _ in losses(out)] == [str(step) for step in range(1, 11)]


def test_every_prefix_of_a_metrics_file_gives_the_rows_that_are_whole(tmp_path: Path, whole: Recipe) -> None:
    raw = (Path(whole.out_dir) / "metrics.csv").read_bytes()
    cut = tmp_path / "metrics.csv"
    for length in range(len(raw)):
        cut.write_bytes(raw[:length])
        assert len(read_metrics(cut)) == max(0, raw[:length].count(b"\n") - 1)


def test_a_checkpoint_that_is_cut_anywhere_is_set_aside_for_an_older_one(
    tmp_path: Path, whole: Recipe
) -> None:
    good = next((Path(whole.out_dir) / "checkpoints").iterdir())
    raw = good.read_bytes()
    for share in range(20):
        folder = tmp_path / str(share)
        folder.mkdir()
        shutil.copy(good, folder / "step-00000002.ckpt")
        (folder / "step-00000004.ckpt").write_bytes(raw[: len(raw) * share // 20])
        told = Told()
        assert to_resume(folder, "last", sharded=False, report=told).name == "step-00000002.ckpt"
        (notice,) = told.notices
        assert "Resuming from step-00000002.ckpt" in notice
        assert sorted(path.name for path in folder.iterdir()) == [
            "step-00000002.ckpt",
            "step-00000004.ckpt.damaged",
        ]


def test_a_damaged_checkpoint_with_no_other_beside_it_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "step-00000004.ckpt").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="step-00000004"):
        to_resume(tmp_path, "last", sharded=False)
    assert (tmp_path / "step-00000004.ckpt").exists()
