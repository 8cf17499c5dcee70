"""Tests of a forked process that uses its parent's loaded model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.tiny_models import tiny_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")

REFUSED = ("fork", "stream", "loss", "another model", "Process, fork", "fork of a fork")
RIGHT = ("one thread", "a thread", "Process, spawn", "parent again")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    script = Path(__file__).with_name("forks.py")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, str(script), str(tiny_folder("llama"))],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    outcomes_by_case: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return outcomes_by_case


@pytest.mark.parametrize("method", REFUSED)
def test_a_fork_of_a_process_that_has_computed_with_threads_is_refused(
    outcomes: dict[str, str], method: str
) -> None:
    assert outcomes[method].startswith("UnsupportedOperation: Computing in a forked process")
    assert all(remedy in outcomes[method] for remedy in ("'spawn'", "torch.set_num_threads(1)"))


@pytest.mark.parametrize("method", RIGHT)
def test_a_safe_fork_gives_the_parents_answer(outcomes: dict[str, str], method: str) -> None:
    assert outcomes[method] == outcomes["parent"]


def test_the_workers_of_a_data_loader_are_forked_as_always(outcomes: dict[str, str]) -> None:
    *lengths, rows = json.loads(outcomes["DataLoader"])
    assert len(lengths) == rows == 4
    assert lengths == sorted(lengths)
