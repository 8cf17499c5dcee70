"""Runs of `litgpt batch` in processes of their own, and their files."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PATIENCE = 600
LAUNCHERS = ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "JOB_COMPLETION_INDEX")


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
    return subprocess.Popen(
        [sys.executable, "-m", "litgpt.cli", "batch", *arguments],
        cwd=folder,
        env={**inherited, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def batch(folder: Path, *arguments: str, status: int = 0, stdin: str = "", **environment: str) -> str:
    """Run the command to its end, and return what it wrote to stderr."""
    with start(folder, *arguments, **environment) as process:
        out, notes = process.communicate(stdin, timeout=PATIENCE)
    assert (process.returncode, out) == (status, ""), notes
    return notes


def jsonl(values: Iterable[object]) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


def write(path: Path, values: Iterable[object]) -> None:
    path.write_text(jsonl(values), encoding="utf-8")


def give(process: subprocess.Popen[str], count: int) -> None:
    """Write lines to stdin, and leave it open, so that the process does not end by itself."""
    assert process.stdin is not None
    process.stdin.write(jsonl(numbered(count)))
    process.stdin.flush()


def read(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def ids(path: Path) -> list[str]:
    return [it["id"] for it in read(path)]


def wait_for_lines(process: subprocess.Popen[str], path: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def numbered(count: int, longest: int = 4) -> list[dict[str, Any]]:
    return [
        {"prompt": f"Count from {at}.", "temperature": 0, "ignore_eos": True, "max_tokens": 1 + at % longest}
        for at in range(count)
    ]


def every_id(count: int) -> list[str]:
    return sorted(f"line-{number}" for number in range(1, count + 1))
