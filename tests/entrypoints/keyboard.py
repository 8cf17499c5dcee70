"""Waiting until a program in a terminal can be interrupted by Ctrl-C."""

import sys
import time

import psutil


def wait_until_it_reads(pid: int, within: float = 300.0) -> None:
    """Return once a process that has printed its prompt waits for input.

    Python's `input()` loses a Ctrl-C that arrives between the two. Nothing is computed then, so the main
    thread sleeps as soon as it waits.
    """
    if sys.platform != "linux":  # where the state of one thread cannot be read
        time.sleep(0.5)
        return
    deadline = time.monotonic() + within
    while psutil.Process(pid).status() != psutil.STATUS_SLEEPING:
        assert time.monotonic() < deadline
        time.sleep(0.005)
