"""Tests of `litgpt finetune` as processes: two equal one, stop on request, and resume exactly."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.cli import main
from litgpt.training import TrainConfig, train
from tests.entrypoints.stopped_litgpt import PATIENCE, stopped_within
from tests.entrypoints.training_runs import VARIED_LENGTHS, Reported, losses, settings, write_varied_lengths

_LITGPT = Path(sys.executable).with_name("litgpt")
_QUICK = {**os.environ, "OMP_NUM_THREADS": "1"}


def varied_settings(folder: Path, **options: Any) -> dict[str, Any]:
    """Return the settings of a run on answers of different lengths, three of them for validation."""
    data = str(write_varied_lengths(folder, 43))
    return settings(
        folder, **(VARIED_LENGTHS | {"data": data, "val_split": 0.07, "learning_rate": 1e-2} | options)
    )


def arguments(folder: Path, **settings: Any) -> list[str]:
    config = varied_settings(folder, **settings)
    model = config.pop("model")
    options = [
        f"--{name.replace('_', '-')}{'' if value is True else f'={value}'}" for name, value in config.items()
    ]
    return ["finetune", model, *options]


def run(folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [str(_LITGPT), *arguments(folder, **options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=_QUICK)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    train(TrainConfig(**varied_settings(folder, method="full", batch_size=4, epochs=2)), report=Reported())
    return folder / "out"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    with LLM.load(folder, distribute=None, quiet=True) as llm:
        llm.trainer_setup()
        return {name: tensor.clone() for name, tensor in llm.state_dict().items()}


def test_two_processes_that_share_gradients_learn_what_one_does(tmp_path: Path, alone: Path) -> None:
    done = run(tmp_path, method="full", epochs=2, devices=2, strategy="ddp")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "out") == pytest.approx(losses(alone), rel=1e-4)
    norms = losses(alone, "gradient_norm")
    assert losses(tmp_path / "out", "gradient_norm") == pytest.approx(norms, rel=1e-3)
    assert losses(tmp_path / "out", "val_loss") == pytest.approx(losses(alone, "val_loss"), rel=1e-4)
    torch.testing.assert_close(
        weights(tmp_path / "out" / "model"), weights(alone / "model"), rtol=1e-3, atol=1e-4
    )
    # Both processes had a notice, and only one printed it.
    assert done.stdout.split() == [str(tmp_path / "out" / "model")]
    assert "warn" not in done.stderr.lower()
    assert done.stderr.count("Saved to") == 1


def test_two_sharded_processes_stop_resume_and_save_one_model(tmp_path: Path, alone: Path) -> None:
    options = {"method": "full", "epochs": 2, "devices": 2, "strategy": "fsdp", "save_every": 3}
    notes = stopped_within(4, signal.SIGTERM, *arguments(tmp_path, **options))
    assert "--resume last" in notes
    broken_off = sorted((tmp_path / "out" / "checkpoints").iterdir())
    assert [path.is_dir() for path in broken_off] == [True]
    done = run(tmp_path, **options, resume="last")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "out") == pytest.approx(losses(alone), rel=1e-4)
    assert losses(tmp_path / "out", "val_loss") == pytest.approx(losses(alone, "val_loss"), rel=1e-4)
    (checkpoint,) = (tmp_path / "out" / "checkpoints").iterdir()
    plain = tmp_path / "plain"
    assert main.run(["convert", str(checkpoint), str(plain), "--quiet"]) == 0
    torch.testing.assert_close(weights(plain), weights(tmp_path / "out" / "model"), rtol=0, atol=0)
    torch.testing.assert_close(weights(plain), weights(alone / "model"), rtol=1e-3, atol=1e-4)
