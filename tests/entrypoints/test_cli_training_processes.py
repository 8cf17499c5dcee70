"""`litgpt finetune` in processes: signals, and two that share the work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from litgpt import LLM
from litgpt.cli.main import run
from litgpt.domain.reporting import silent
from litgpt.trained import save_checkpoint_as_model
from litgpt.training import train
from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_recipes import checkpoints, examples, losses, recipe

PATIENCE = 90
MANY = 150
"""Steps that take longer than a signal does."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def finetune(tmp_path: Path, out: str, *arguments: str) -> tuple[str, ...]:
    data = tmp_path / "examples.jsonl"
    usual = ("--data", str(data if data.exists() else examples(data)), "--out-dir", str(tmp_path / out))
    how = ("--accelerator", "cpu", "--precision", "32-true", "--max-seq-length", "200")
    return ("finetune", str(tiny_folder("llama")), *usual, *how, "--learning-rate", "1e-2", *arguments)


def process(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-m", "litgpt.cli", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def end_in_the_middle(started: subprocess.Popen[str], out: Path, number: signal.Signals) -> str:
    """Send a signal as soon as a step is done, and return what the process said before it ended with 130."""
    until = time.monotonic() + PATIENCE
    while not ((out / "metrics.csv").exists() and losses(out)):
        assert started.poll() is None, started.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(started.pid, number)
    told, notes = started.communicate(timeout=PATIENCE)
    assert (started.returncode, told) == (130, ""), notes
    assert in_session(started.pid) == []
    return notes


def in_session(session: int) -> list[int]:
    """Return the processes of a session, which are all that were started by its first one."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                state, _, _, of = path.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(of) == session and state != "Z":
                found.append(int(path.name))
    return found


def test_ctrl_c_saves_and_the_run_goes_on_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = finetune(tmp_path, "out", "--max-steps", str(MANY))
    out = tmp_path / "out"
    notes = end_in_the_middle(process(*arguments), out, signal.SIGINT)
    done = len(losses(out))
    assert 0 < done < MANY
    assert "Ending after this step; what was learnt is saved.\n" in notes
    assert f"Ended at step {done}, from which --resume last goes on.\n" in notes
    assert "Traceback" not in notes
    assert checkpoints(out) == [f"step-{done:08d}.ckpt"]
    assert not (out / "adapter").exists()
    capsys.readouterr()
    assert run((*arguments, "--resume", "last", "--quiet")) == 0
    assert capsys.readouterr().out == f"{out / 'adapter'}\n"
    assert [step for step, _ in losses(out)] == [str(step) for step in range(1, MANY + 1)]


def test_two_processes_that_are_told_to_end_do_so_together_and_go_on_together(tmp_path: Path) -> None:
    arguments = finetune(
        tmp_path, "out", "--method", "full", "--strategy", "fsdp", "--devices", "2", "--batch-size", "2"
    )
    out = tmp_path / "out"
    notes = end_in_the_middle(process(*arguments, "--epochs", "50"), out, signal.SIGTERM)
    done = len(losses(out))
    assert notes.count("Ended at step ") == 1
    assert checkpoints(out) == [f"step-{done:08d}.ckpt"]
    assert (out / "checkpoints" / checkpoints(out)[0]).is_dir()
    last = str(done + 4)
    going_on = process(*arguments, "--max-steps", last, "--resume", "last")
    told, notes = going_on.communicate(timeout=PATIENCE)
    assert (going_on.returncode, told) == (0, f"{out / 'model'}\n"), notes
    assert [step for step, _ in losses(out)] == [str(step) for step in range(1, done + 5)]
    assert in_session(going_on.pid) == []
    (newest,) = (out / "checkpoints").iterdir()
    save_checkpoint_as_model(newest, tmp_path / "made", silent)
    weights = "model.safetensors"
    assert (tmp_path / "made" / weights).read_bytes() == (out / "model" / weights).read_bytes()
    assert LLM.load(out / "model", quiet=True).generate("hi", max_new_tokens=2)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns(tmp_path: Path, strategy: str) -> None:
    train(recipe(tmp_path, out_dir=tmp_path / "one", max_steps=6), report=silent)
    spread = ("--strategy", strategy, "--devices", "2", "--batch-size", "2", "--max-steps", "6")
    started = process(*finetune(tmp_path, "two", "--method", "full", *spread))
    told, notes = started.communicate(timeout=PATIENCE)
    assert (started.returncode, told) == (0, f"{tmp_path / 'two' / 'model'}\n"), notes
    assert notes.count("Saved to ") == notes.count("6 steps, ") == 1
    alone = [float(loss) for _, loss in losses(tmp_path / "one")]
    # Each averages over the tokens of its own examples, so they are near only.
    assert [float(loss) for _, loss in losses(tmp_path / "two")] == pytest.approx(alone, rel=2e-2)
    assert LLM.load(tmp_path / "two" / "model", quiet=True).generate("hi", max_new_tokens=2)
