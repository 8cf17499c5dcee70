"""Run a worker in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from environments import HERE, checked

BANDWIDTH = "from litgpt.adapters.native.read_bandwidth import read_bandwidth; print(read_bandwidth())"


def read_bandwidth(threads: int) -> float:
    """Return the bytes per second that threads of the native engine read from memory."""
    environment = {**os.environ, "LITGPT_NUM_THREADS": str(threads)}
    run = subprocess.run(
        [sys.executable, "-c", BANDWIDTH], env=environment, capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def run_worker(
    python: Path | str, worker: str, model: Path, *arguments: str | Path, threads: int
) -> dict[str, Any]:
    """Return the measurements that `worker_<worker>.py` prints as the last line of its output.

    Raises:
        Unavailable: It failed.
    """
    command = [python, HERE / f"worker_{worker}.py", model, "--threads", str(threads), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    output = checked(f"worker_{worker}.py", command, env=environment)
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measured
