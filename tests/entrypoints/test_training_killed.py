"""Tests of killed runs and damaged files: resuming loses nothing that can be recomputed."""

import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import attrs
import pytest
import torch
from torch.distributed.checkpoint.state_dict_saver import save

from litgpt.adapters.training.checkpointing import checkpoint_to_resume
from litgpt.adapters.training.config_file import write_config
from litgpt.adapters.training.lightning_module import LitModel
from litgpt.adapters.training.metrics import read_metrics
from litgpt.domain.errors import InvalidCheckpoint
from litgpt.domain.progress import null_reporter
from litgpt.domain.training.config import TrainConfig
from litgpt.training import train
from tests.entrypoints.small_runs import checkpoints, losses, train_config, validated
from tests.entrypoints.training_runs import Reported

pytestmark = pytest.mark.usefixtures("one_thread")

KILLED_BEFORE_VALIDATION = """
import os, signal, sys
from pathlib import Path
from litgpt.adapters.training.lightning_module import LitModel
from litgpt.adapters.training.config_file import read_settings
from litgpt.domain.progress import null_reporter
from litgpt.training import config_from_settings, train

def kill(self):
    if self.trainer.global_step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

LitModel.on_validation_start = kill
train(config_from_settings(read_settings(Path(sys.argv[1]))), report=null_reporter)
"""


def with_snapshots(config: TrainConfig) -> TrainConfig:
    """Train, and copy the output folder before each validation, the state after a kill there."""
    out = Path(config.out_dir)

    def copy(module: LitModel) -> None:
        shutil.copytree(out, out.parent / f"before-{module.trainer.global_step}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LitModel, "on_validation_start", copy)
        train(config, report=null_reporter)
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return the config of a run of 7 steps that validates after every second one, and after the last."""
    settings = {"method": "lora", "max_steps": 7, "save_every": 1, "eval_every": 2}
    return with_snapshots(train_config(tmp_path_factory.mktemp("whole"), **settings))


@pytest.fixture(scope="module")
def by_epoch(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return the config of a run of two epochs with a validation after each."""
    settings = {"method": "lora", "epochs": 2, "save_every": 1, "val_split": 0.1}
    return with_snapshots(train_config(tmp_path_factory.mktemp("epochs"), **settings))


def resumed(whole: TrainConfig, half: Path) -> None:
    """Resume a run that was killed before a validation, and compare it with an uninterrupted one."""
    step = checkpoints(half)[-1].removeprefix("step-").removesuffix(".ckpt").lstrip("0")
    assert step in dict(validated(Path(whole.out_dir)))
    assert step not in dict(validated(half))
    done = train(attrs.evolve(whole, out_dir=str(half)), resume="last", report=null_reporter)
    assert validated(half) == validated(Path(whole.out_dir))
    assert losses(half) == losses(Path(whole.out_dir))
    assert done.val_loss == pytest.approx(float(validated(half)[-1][1]))
    saved = "adapter/adapter_model.safetensors"
    assert (half / saved).read_bytes() == (Path(whole.out_dir) / saved).read_bytes()


@pytest.mark.parametrize("step", [2, 4, 6, 7])
def test_a_validation_that_a_kill_prevented_is_done_on_resuming(
    tmp_path: Path, whole: TrainConfig, step: int
) -> None:
    half = tmp_path / "half"
    shutil.copytree(Path(whole.out_dir).parent / f"before-{step}", half)
    resumed(whole, half)


@pytest.mark.parametrize("epoch", [1, 2])
def test_the_validation_of_an_epoch_is_done_on_resuming_too(
    tmp_path: Path, by_epoch: TrainConfig, epoch: int
) -> None:
    half, step = tmp_path / "half", validated(Path(by_epoch.out_dir))[epoch - 1][0]
    shutil.copytree(Path(by_epoch.out_dir).parent / f"before-{step}", half)
    resumed(by_epoch, half)


def test_a_validation_in_which_a_process_was_killed_is_done_on_resuming(
    tmp_path: Path, whole: TrainConfig
) -> None:
    half, file = tmp_path / "half", tmp_path / "recipe.yaml"
    write_config(file, attrs.evolve(whole, out_dir=str(half)))
    command = [sys.executable, "-c", KILLED_BEFORE_VALIDATION, str(file), "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoints(half) == ["step-00000004.ckpt"]
    resumed(whole, half)


def test_the_metrics_of_a_run_that_has_only_its_last_validation_left_are_cleaned_too(
    tmp_path: Path, whole: TrainConfig
) -> None:
    half = tmp_path / "half"
    shutil.copytree(Path(whole.out_dir).parent / "before-7", half)
    torn = (half / "metrics.csv").read_bytes()[:-9]
    (half / "metrics.csv").write_bytes(torn)
    train(attrs.evolve(whole, out_dir=str(half)), resume="last", report=null_reporter)
    assert validated(half) == validated(Path(whole.out_dir))
    assert losses(half) == losses(Path(whole.out_dir))[:-1]


def test_a_validation_that_was_done_is_not_done_again(tmp_path: Path, whole: TrainConfig) -> None:
    out = tmp_path / "out"
    first = attrs.evolve(whole, out_dir=str(out), max_steps=4, save_every=4)
    train(first, report=null_reporter)
    train(attrs.evolve(first, max_steps=6), resume="last", report=null_reporter)
    assert [step for step, _ in validated(out)] == ["2", "4", "6"]


@pytest.mark.parametrize("kind", ["empty", "zeros", "quote", "binary", "huge step", "folder", "no header"])
def test_a_metrics_file_that_cannot_be_read_is_reported_and_prevents_nothing(
    tmp_path: Path, whole: TrainConfig, kind: str
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
    reported = Reported()
    longer = attrs.evolve(whole, out_dir=str(out), max_steps=10)
    done = train(longer, resume="last", report=reported)
    assert done.steps == 10
    assert any(
        notice.startswith(f"{metrics} is continued without some steps: ") for notice in reported.notices
    )
    if kind in ("quote", "huge step"):
        assert [step for step, _ in losses(out)] == [str(step) for step in range(1, 11)]


def test_every_prefix_of_a_metrics_file_has_the_complete_rows(tmp_path: Path, whole: TrainConfig) -> None:
    raw = (Path(whole.out_dir) / "metrics.csv").read_bytes()
    cut = tmp_path / "metrics.csv"
    for length in range(len(raw)):
        cut.write_bytes(raw[:length])
        assert len(read_metrics(cut)) == max(0, raw[:length].count(b"\n") - 1)


def newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.ckpt"), reverse=True)


def test_a_checkpoint_that_is_cut_anywhere_is_set_aside_for_an_older_one(
    tmp_path: Path, whole: TrainConfig
) -> None:
    good = next((Path(whole.out_dir) / "checkpoints").glob("*.ckpt"))
    raw = good.read_bytes()
    for share in range(20):
        folder = tmp_path / str(share)
        folder.mkdir()
        shutil.copy(good, folder / "step-00000002.ckpt")
        (folder / "step-00000004.ckpt").write_bytes(raw[: len(raw) * share // 20])
        reported = Reported()
        assert (
            checkpoint_to_resume(newest_first(folder), sharded=False, report=reported).name
            == "step-00000002.ckpt"
        )
        (notice,) = reported.notices
        assert "Resuming from step-00000002.ckpt" in notice
        assert sorted(path.name for path in folder.iterdir()) == [
            "step-00000002.ckpt",
            "step-00000004.ckpt.damaged",
        ]


def test_a_damaged_only_checkpoint_is_an_error_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "step-00000004.ckpt").write_bytes(b"")
    with pytest.raises(InvalidCheckpoint, match="step-00000004"):
        checkpoint_to_resume(newest_first(tmp_path), sharded=False)
    assert (tmp_path / "step-00000004.ckpt").exists()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sharded checkpoint, as torch writes it."""
    path = tmp_path_factory.mktemp("sharded") / "good.ckpt"
    state = {f"state_dict.{name}": torch.rand(64, 16) for name in "abc"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a single process is intended
        save(state, checkpoint_id=path, no_dist=True)
    torch.save({"global_step": 2}, path / "meta.pt")
    return path


@pytest.mark.parametrize("share", [None, 0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["*.distcp", "meta.pt"])
def test_a_sharded_checkpoint_with_a_damaged_part_is_set_aside_for_an_older_one(
    tmp_path: Path, sharded: Path, kind: str, share: float | None
) -> None:
    shutil.copytree(sharded, tmp_path / "step-00000002.ckpt")
    shutil.copytree(sharded, tmp_path / "step-00000004.ckpt")
    assert checkpoint_to_resume(newest_first(tmp_path), sharded=True) == tmp_path / "step-00000004.ckpt"
    part = next((tmp_path / "step-00000004.ckpt").glob(kind))
    if share is None:
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[: int(part.stat().st_size * share)])
    reported = Reported()
    assert (
        checkpoint_to_resume(newest_first(tmp_path), sharded=True, report=reported)
        == tmp_path / "step-00000002.ckpt"
    )
    (notice,) = reported.notices
    assert part.name in notice
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000002.ckpt",
        "step-00000004.ckpt.damaged",
    ]
