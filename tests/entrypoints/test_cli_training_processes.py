"""Tests of signals to `litgpt finetune`, in one process and in two: a clean exit and an exact resume."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from litgpt.cli.main import run
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import checkpoints, examples, losses
from tests.entrypoints.stopped_litgpt import PATIENCE, stopped_within, wait_for_all_of

pytestmark = pytest.mark.usefixtures("one_thread")


def finetune(tmp_path: Path, out: str, *arguments: str) -> tuple[str, ...]:
    data = tmp_path / "examples.jsonl"
    usual = ("--data", str(data if data.exists() else examples(data)), "--out-dir", str(tmp_path / out))
    options = ("--accelerator", "cpu", "--precision", "32-true", "--max-seq-length", "200")
    return ("finetune", str(tiny_folder("llama")), *usual, *options, "--learning-rate", "1e-2", *arguments)


def process(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", "litgpt.cli", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def test_ctrl_c_saves_a_checkpoint_and_the_run_is_resumed_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, done, out = 6, 3, tmp_path / "out"
    arguments = finetune(tmp_path, "out", "--max-steps", str(steps))
    notes = stopped_within(done, signal.SIGINT, *arguments)
    assert len(losses(out)) == done
    assert "Stopping after this step and saving a checkpoint.\n" in notes
    assert f"Stopped at step {done}; continue with --resume last.\n" in notes
    assert "Traceback" not in notes
    assert checkpoints(out) == [f"step-{done:08d}.ckpt"]
    assert not (out / "adapter").exists()
    capsys.readouterr()
    assert run((*arguments, "--resume", "last", "--quiet")) == 0
    assert capsys.readouterr().out == f"{out / 'adapter'}\n"
    assert [step for step, _ in losses(out)] == [str(step) for step in range(1, steps + 1)]


def test_two_interrupted_processes_stop_together_and_resume_exactly(tmp_path: Path) -> None:
    spread = ("--strategy", "ddp", "--devices", "2", "--batch-size", "2", "--max-steps", "24")
    # Batches are of many lengths, so each process has drawn as many numbers as no other.
    lines = [json.dumps({"instruction": "count", "output": "one " * (i * 7 % 13)}) for i in range(1, 41)]
    (tmp_path / "examples.jsonl").write_text("\n".join(lines), encoding="utf-8")
    dropping = ("--lora-dropout", "0.3", *spread)
    out, done = tmp_path / "half", 13  # in the second epoch
    notes = stopped_within(done, signal.SIGTERM, *finetune(tmp_path, "half", *dropping))
    assert len(losses(out)) == done
    assert notes.count("Stopped at step ") == 1
    assert checkpoints(out) == [f"step-{done:08d}.ckpt"]
    for name, options in (("half", ("--resume", "last")), ("whole", ())):
        started = process(*finetune(tmp_path, name, *dropping, *options))
        reported, notes = started.communicate(timeout=PATIENCE)
        assert (started.returncode, reported) == (0, f"{tmp_path / name / 'adapter'}\n"), notes
        wait_for_all_of(started.pid)
    assert losses(out) == losses(tmp_path / "whole")
