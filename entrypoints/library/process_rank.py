"""Detect rank 0 of a distributed run."""

import os


def is_first_process() -> bool:
    """Return whether this is the only process, or rank 0 of torchrun, Slurm or Lightning."""
    if os.environ.get("WORLD_SIZE") == "1":
        return True
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))
