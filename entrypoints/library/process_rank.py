"""Detect rank 0 of a distributed run."""

import os


def is_first_process() -> bool:
    """Return whether this process is the only one, or the first that torchrun, Slurm or Lightning started."""
    if os.environ.get("WORLD_SIZE") == "1":
        return True
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))
