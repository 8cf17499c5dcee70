"""The seeds of requests without one."""

import random
import sys


def random_seed() -> int:
    """Return a seed from torch's random state, so that torch.manual_seed makes runs reproducible.

    A process that has not imported torch gets one from the operating system.
    """
    if "torch" not in sys.modules:
        return random.SystemRandom().getrandbits(63)
    import torch

    return int(torch.randint(2**63 - 1, ()).item())
