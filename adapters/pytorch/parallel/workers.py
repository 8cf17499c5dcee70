"""A process that is one of the other ranks: how it is started, and what became of it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import attrs


@attrs.define(eq=False)
class Worker:
    """One of the other ranks.

    Attributes:
        rank: Which.
        process: Its process.
        line: What is said to it and by it.
        heard: When it was last heard of.
        said: What it said went wrong.

    """

    rank: int
    process: subprocess.Popen[bytes]
    line: Connection | None = None
    heard: float = attrs.field(factory=time.monotonic)
    said: str | None = None

    def cause(self, patience: float) -> str | None:
        """Return what became of it; None if it is well."""
        code = self.process.poll()
        if self.said is not None:
            return self.said
        if code is not None:
            return f"it was ended by signal {-code}" if code < 0 else f"it ended with status {code}"
        if time.monotonic() - self.heard > patience:
            return f"nothing was heard of it for {patience:.0f} seconds"
        return None


def threads_each(ranks: int) -> int:
    """Return how many of this machine's cores each of several ranks has."""
    return max(1, (os.cpu_count() or 1) // ranks)


def start(call: Mapping[str, Any], ranks: int) -> subprocess.Popen[bytes]:
    """Return the process of a rank.

    Args:
        call: What it is told.
        ranks: How many ranks there are.

    """
    environment = {"OMP_NUM_THREADS": str(threads_each(ranks)), **os.environ, "LITGPT_QUIET": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "litgpt.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    process.stdin.write(json.dumps(call).encode() + b"\n")
    process.stdin.flush()
    return process


def last_words(process: subprocess.Popen[bytes]) -> str:
    """Return what a process that has ended said last."""
    words = process.stderr.read().decode(errors="replace").strip() if process.stderr is not None else ""
    return words.splitlines()[-1] if words else f"it ended with status {process.returncode}"
