"""A forked process in which torch would hang.

GNU OpenMP, which torch computes with on CPUs, keeps a pool of threads for each thread that has computed with
several. A fork copies the memory of the pool and not its threads, so the thread that forked waits for them
for ever when it computes in the child.
"""

import os
import threading

import torch

from litgpt.domain.errors import UnsupportedOperation

_here = threading.local()


def check_fork() -> None:
    """Call this before torch computes much in this thread.

    Raises:
        OutOfReach: This process was forked by a thread that had computed with several threads, and torch is
            to use several here.

    """
    if torch.get_num_threads() == 1:
        return
    if getattr(_here, "is_copy", False):
        reason = (
            "the parent process had loaded or run a model with several threads, which do not exist here, and "
            "torch would wait for them for ever. Start processes with the 'spawn' or 'forkserver' method of "
            "multiprocessing, or call torch.set_num_threads(1) in the child process first."
        )
        raise UnsupportedOperation("Computing in a forked process", reason)
    _here.has_pool = True


def _after_fork() -> None:
    _here.is_copy = getattr(_here, "has_pool", False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
