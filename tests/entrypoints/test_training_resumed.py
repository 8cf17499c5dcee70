"""Tests of resuming an interrupted run: exact, or refused."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import lightning as L  # noqa: N812 - as everybody calls it
import pytest
import torch
from torch import distributed

from litgpt.adapters.training.checkpointing import CheckpointCallback
from litgpt.adapters.training.metrics import MetricsCallback
from litgpt.domain.errors import CorruptFile, InvalidArgument, UnsafeFile
from litgpt.domain.progress import null_reporter
from litgpt.domain.training.config import TrainConfig
from litgpt.domain.training.errors import TrainerCheckpointMismatch
from litgpt.training import train
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import checkpoints, losses, rows, train_config, validated
from tests.entrypoints.training_runs import Reported

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_process() -> Iterator[None]:
    """Let a run use its own process group and Lightning's environment, isolated from later tests."""
    before = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.clear()
    os.environ.update(before)
    if distributed.is_initialized():
        distributed.destroy_process_group()


class PowerCut(Exception):
    """The end of the process."""


def interrupted(
    config: TrainConfig, *, batches: int, monkeypatch: pytest.MonkeyPatch, saves: bool = False
) -> None:
    """Train until this many batches are done, and end like a power cut; `saves` writes a checkpoint first."""
    seen = 0
    usual = MetricsCallback.on_train_batch_end

    def cut(self: MetricsCallback, trainer: L.Trainer, module: L.LightningModule, *rest: Any) -> None:
        nonlocal seen
        usual(self, trainer, module, *rest)
        seen += 1
        if seen == batches:
            raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(MetricsCallback, "on_train_batch_end", cut)
        if not saves:
            patch.setattr(CheckpointCallback, "on_exception", lambda *_: None)
        with pytest.raises(PowerCut):
            train(config, report=null_reporter)


SETTINGS: dict[str, Any] = {
    "method": "lora",
    "lora_dropout": 0.3,
    "epochs": 2,
    "batch_size": 3,
    "accumulate": 2,
    "save_every": 2,
    "eval_every": 3,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Return the config of an uninterrupted run."""
    config = train_config(tmp_path_factory.mktemp("whole"), **SETTINGS)
    train(config, report=null_reporter)
    return config


@pytest.mark.parametrize(
    ("batches", "checkpoints_kept"),
    [
        (7, 2),  # in the first epoch, within a gradient accumulation
        (9, 4),  # right after a checkpoint in the middle of an epoch, with the validation before it
        (14, 6),  # behind the first step of the second epoch
        (20, 10),
    ],
)
def test_an_interrupted_run_resumes_exactly(
    tmp_path: Path, whole: TrainConfig, batches: int, checkpoints_kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = attrs.evolve(whole, out_dir=str(tmp_path / "half"))
    interrupted(half, batches=batches, monkeypatch=monkeypatch)
    assert checkpoints(tmp_path / "half") == [f"step-{checkpoints_kept:08d}.ckpt"]
    done = train(half, resume="last", report=null_reporter)
    assert losses(tmp_path / "half") == losses(Path(whole.out_dir))
    assert validated(tmp_path / "half") == validated(Path(whole.out_dir))
    assert done.steps == len(losses(tmp_path / "half"))
    saved = "adapter/adapter_model.safetensors"
    assert (tmp_path / "half" / saved).read_bytes() == (Path(whole.out_dir) / saved).read_bytes()


def test_a_run_that_is_extended_has_the_learning_rates_of_the_longer_schedule(tmp_path: Path) -> None:
    config = train_config(tmp_path, max_steps=4, save_every=2, learning_rate=1e-3)
    train(config, report=null_reporter)
    longer = attrs.evolve(config, max_steps=8, learning_rate=2e-3)
    train(longer, resume="last", report=null_reporter)
    schedule = longer.lr_schedule(8)
    actual = [float(row["learning_rate"]) for row in rows(tmp_path / "out") if row["learning_rate"]]
    assert actual[4:] == pytest.approx([2e-3 * schedule(step) for step in range(4, 8)], rel=1e-3)


def test_full_training_resumes_exactly_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_config(tmp_path, out_dir=tmp_path / "whole", save_every=3, max_steps=8)
    train(whole, report=null_reporter)
    half = attrs.evolve(whole, out_dir=str(tmp_path / "half"))
    interrupted(half, batches=5, monkeypatch=monkeypatch)
    train(half, resume=str(tmp_path / "half/checkpoints/step-00000003.ckpt"), report=null_reporter)
    assert losses(tmp_path / "half") == losses(tmp_path / "whole")
    saved = "model/model.safetensors"
    assert (tmp_path / "half" / saved).read_bytes() == (tmp_path / "whole" / saved).read_bytes()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_sharded_run_resumes_exactly_too(
    tmp_path: Path, method: str, one_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del one_process
    settings = SETTINGS | {"method": method, "strategy": "fsdp", "epochs": 1}
    whole = train_config(tmp_path, out_dir=tmp_path / "whole", **settings)
    train(whole, report=null_reporter)
    half = attrs.evolve(whole, out_dir=str(tmp_path / "half"))
    interrupted(half, batches=9, monkeypatch=monkeypatch)
    assert (tmp_path / "half/checkpoints/step-00000004.ckpt").is_dir()
    train(half, resume="last", report=null_reporter)
    assert losses(tmp_path / "half") == losses(tmp_path / "whole")
    assert validated(tmp_path / "half") == validated(tmp_path / "whole")
    other = {"lora_rank": 3} if method == "lora" else {"method": "lora"}
    with pytest.raises(TrainerCheckpointMismatch, match="llama"):
        train(attrs.evolve(half, **other), resume="last", report=null_reporter)
    with pytest.raises(InvalidArgument, match=r"resume must be a file, written without 'fsdp'"):
        train(attrs.evolve(half, strategy="auto"), resume="last", report=null_reporter)


def test_an_exception_keeps_the_trained_weights(
    tmp_path: Path, whole: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = attrs.evolve(whole, out_dir=str(tmp_path / "half"), save_every=None)
    interrupted(half, batches=6, monkeypatch=monkeypatch, saves=True)
    assert checkpoints(tmp_path / "half") == ["step-00000003.ckpt"]
    train(half, resume="last", report=null_reporter)
    assert losses(tmp_path / "half") == losses(Path(whole.out_dir))


@pytest.mark.parametrize("batches", [5, 7, 14, 15])
def test_an_exception_between_steps_keeps_the_last_steps_weights(
    tmp_path: Path, whole: TrainConfig, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = attrs.evolve(whole, out_dir=str(tmp_path / "half"), save_every=None)
    interrupted(half, batches=batches, monkeypatch=monkeypatch, saves=True)
    assert len(checkpoints(tmp_path / "half")) == 1
    train(half, resume="last", report=null_reporter)
    assert losses(tmp_path / "half") == losses(Path(whole.out_dir))


@pytest.mark.parametrize("names_its_steps", [False, True])
def test_a_finished_run_has_nothing_to_train(whole: TrainConfig, *, names_its_steps: bool) -> None:
    before, reported = losses(Path(whole.out_dir)), Reported()
    steps = int(before[-1][0])
    config = attrs.evolve(whole, epochs=None, max_steps=steps) if names_its_steps else whole
    done = train(config, resume="last", report=reported)
    assert done.saved is not None
    finished = f"{whole.out_dir} is already at step {steps} of {steps}; nothing to train."
    assert reported.notices.count(finished) == 1
    assert set(reported.steps) <= {steps}  # no further step
    assert losses(Path(whole.out_dir)) == before


def test_resuming_requires_a_checkpoint(tmp_path: Path) -> None:
    config = train_config(tmp_path)
    none = str(tmp_path / "none.ckpt")
    expected = {
        "last": r"resume must be the path of a checkpoint, because .*out.* has none, not 'last'\.",
        none: r"resume must be 'last' or the path of an existing checkpoint, not '.*none\.ckpt'\.",
    }
    for options, message in expected.items():
        with pytest.raises(InvalidArgument, match=message):
            train(config, resume=options, report=null_reporter)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"method": "full"}, "llm.lm_head.weight"),
        ({"method": "lora", "lora_targets": "all-linear"}, "k_proj"),
        ({"method": "lora", "lora_rank": 4}, "expected"),
        ({"method": "lora", "model": "gpt_neox"}, "misshapen|wrong shape|unexpected"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_before_training(
    tmp_path: Path, whole: TrainConfig, other: dict[str, Any], named: str
) -> None:
    if "model" in other:
        other = other | {"model": str(tiny_folder(other["model"]))}
    started = attrs.evolve(whole, out_dir=str(tmp_path / "other"), **other)
    newest = Path(whole.out_dir) / "checkpoints" / checkpoints(Path(whole.out_dir))[-1]
    with pytest.raises(TrainerCheckpointMismatch, match=named):
        train(started, resume=str(newest), report=null_reporter)
    assert not (tmp_path / "other" / "metrics.csv").exists()


@pytest.mark.parametrize(
    "torn", [b"5,0,1.2", b"5,0,1.25,,0.01,3.5", b"\0\0\0\0", b"5,\xff", b"5,0,x,,,,\r\n", b"5\r\n"]
)
def test_a_row_that_was_not_written_whole_does_not_matter(tmp_path: Path, torn: bytes) -> None:
    half = train_config(tmp_path, max_steps=8, save_every=4)
    train(attrs.evolve(half, max_steps=4), report=null_reporter)
    before = (tmp_path / "out/metrics.csv").read_bytes()
    with (tmp_path / "out/metrics.csv").open("ab") as file:
        file.write(torn)
    done = train(attrs.evolve(half, max_steps=5), resume="last", report=null_reporter)
    assert done.steps == 5
    assert (tmp_path / "out/metrics.csv").read_bytes().startswith(before)
    assert [step for step, _ in losses(tmp_path / "out")] == ["1", "2", "3", "4", "5"]


class Attack:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    mark, evil = tmp_path / "ran", tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "callbacks": Attack(mark)}, evil)
    with pytest.raises(UnsafeFile, match=r"evil.*It holds callbacks \(pathlib\.Path\)\."):
        train(train_config(tmp_path), resume=str(evil), report=null_reporter)
    assert not mark.exists()


@pytest.mark.parametrize("where", [".metadata", "meta.pt"])
def test_a_sharded_checkpoint_that_would_run_code_is_refused(tmp_path: Path, where: str) -> None:
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    mark, evil = tmp_path / "ran", tmp_path / "evil.ckpt"
    with pytest.warns(UserWarning, match="distributed"):
        save({"state_dict": {"llm.x": torch.ones(2)}}, storage_writer=FileSystemWriter(evil), no_dist=True)
    torch.save({}, evil / "meta.pt")
    if where == "meta.pt":
        torch.save({"callbacks": Attack(mark)}, evil / where)
    else:
        (evil / where).write_bytes(pickle.dumps(Attack(mark)))
    with pytest.raises(UnsafeFile, match=where):
        train(train_config(tmp_path, strategy="fsdp"), resume=str(evil), report=null_reporter)
    assert not mark.exists()


def test_a_checkpoint_that_is_cut_short_is_refused(tmp_path: Path, whole: TrainConfig) -> None:
    newest = Path(whole.out_dir) / "checkpoints" / checkpoints(Path(whole.out_dir))[-1]
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(newest.read_bytes()[:-5000])
    with pytest.raises(CorruptFile, match="cut"):
        train(attrs.evolve(whole, out_dir=str(tmp_path / "out")), resume=str(cut), report=null_reporter)
