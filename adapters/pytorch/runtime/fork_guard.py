"""Detect forked processes in which torch would hang.

GNU OpenMP, which torch uses on CPUs, has a thread pool for each thread that has run a parallel region. A fork
copies the memory of the pool, but not its threads, so that the next parallel region in the child deadlocks.
"""

import os
import threading

import torch

from litgpt.domain.errors import UnsupportedOperation

_here = threading.local()


def check_fork() -> None:
    """Raise if a parallel computation of torch would deadlock in this thread.

    It would if this process was forked by a thread that had used several threads, and torch uses several
    here.
    """
    if torch.get_num_threads() == 1:
        return
    if getattr(_here, "is_copy", False):
        reason = (
            "the parent process had loaded or run a model with several threads, which do not exist in the "
            "child process, so that torch would deadlock. Start processes with the 'spawn' or 'forkserver' "
            "method of multiprocessing, or call torch.set_num_threads(1) in the child process first."
        )
        raise UnsupportedOperation("Computing in a forked process", reason)
    _here.has_pool = True


def _after_fork() -> None:
    _here.is_copy = getattr(_here, "has_pool", False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
