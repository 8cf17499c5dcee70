"""Tests of what a command does to load a model in little time."""

import os
import subprocess
import sys

import pytest

THREADS = "import os; print(len(os.listdir('/proc/self/task')), os.environ.get('OPENBLAS_NUM_THREADS'))"


@pytest.mark.skipif(sys.platform != "linux", reason="counts the threads in /proc")
@pytest.mark.parametrize(("number", "expected"), [(None, "1 None\n"), ("2", "2 2\n")])
def test_numpy_starts_no_threads_unless_the_user_asks_for_them(number: str | None, expected: str) -> None:
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "GOTO_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {} if number is None else {"OPENBLAS_NUM_THREADS": number}
    code = f"from litgpt.cli.model_loading import import_numpy; import_numpy(); import numpy; {THREADS}"
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("OpenBLAS starts no threads on one core")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert run.stdout.decode() == expected
