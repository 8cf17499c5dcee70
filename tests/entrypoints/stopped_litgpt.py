"""Send a signal to a training command within a chosen step.

Run as a program, this file is `litgpt`, except that the first process of a training waits for a signal within
the step that an environment variable names.
"""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from litgpt.adapters.training.lightning_module import LitModel
from litgpt.cli.main import main

WAITS = "waiting for a signal\n"
STEP = "TESTED_STEP"
PATIENCE = 900


def stopped_within(step: int, number: signal.Signals, *arguments: str) -> str:
    """Run a training command, send it a signal within a step, and return its stderr.

    It must exit with status 130, write nothing to stdout and leave no process behind.
    """
    with subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", STEP: str(step)},
        start_new_session=True,
    ) as started:
        try:
            assert started.stdout is not None
            assert select.select([started.stdout], [], [], PATIENCE)[0]
            assert started.stdout.readline() == WAITS, started.communicate()[1]
            started.send_signal(number)
            result, notes = started.communicate(timeout=PATIENCE)
        except BaseException:
            for process in in_session(started.pid):
                os.kill(process, signal.SIGKILL)
            raise
    assert (started.returncode, result) == (130, ""), notes
    wait_for_all_of(started.pid)
    return notes


def wait_for_all_of(session: int) -> None:
    """Wait until a session has no processes: one that has closed its files may still be running."""
    deadline = time.monotonic() + PATIENCE
    while left := in_session(session):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def in_session(session: int) -> list[int]:
    """Return the processes of a session, which includes all descendants of its first one."""
    results = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                state, _, _, of = path.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(of) == session and state != "Z":
                results.append(int(path.name))
    return results


def _wait_within(step: int) -> None:
    """Let the first process wait for a signal before it computes a step's first batch."""
    compute = LitModel.training_step

    def wait_and_compute(self: LitModel, batch: Any) -> Any:
        if self.trainer.is_global_zero and self.trainer.global_step == step - 1:
            LitModel.training_step = compute  # type: ignore[method-assign] # once
            reads, writes = os.pipe()
            os.set_blocking(writes, False)
            signal.set_wakeup_fd(writes)  # a signal that arrives before the read below is not missed
            print(WAITS, end="", flush=True)  # noqa: T201 - the other process reads it
            os.read(reads, 1)
            signal.set_wakeup_fd(-1)
        return compute(self, batch)

    LitModel.training_step = wait_and_compute  # type: ignore[method-assign] # it is in place for this program


if __name__ == "__main__":
    _wait_within(int(os.environ[STEP]))
    main()
