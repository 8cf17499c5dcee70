"""Ranks that have a card each, by NCCL.

This has not run on cards yet, for want of several. The rule that chooses it (`domain.placement.transport`)
and what is done around NCCL are tested without.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import attrs
import torch
from torch import Tensor, distributed
from torch.distributed import Store  # type: ignore[attr-defined] # it is public, and not in its list

from litgpt.adapters.pytorch.parallel.group import ProcessGroup

_BLOCKING = "TORCH_NCCL_BLOCKING_WAIT"


@attrs.frozen
class CardGroup(ProcessGroup):
    """Ranks that are processes with a card each. What is elsewhere goes to the card for it, and back.

    Attributes:
        device: This rank's card.

    """

    device: torch.device

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`, where `x` is."""
        return super().sum(x.to(self.device)).to(x.device)

    def gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return all ranks' `x` end to end along the last dimension, where `x` is."""
        return super().gather(x.to(self.device), sizes).to(x.device)

    def send(self, x: Tensor, to: int) -> None:
        """Send a tensor to a rank that receives it now."""
        self.backend.send([x.to(self.device).contiguous()], to, 0).wait()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, of: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        x = torch.empty(tuple(shape), dtype=dtype, device=self.device)
        self.backend.recv([x], of, 0).wait()
        return x.cpu()

    def abandon(self) -> None:
        """Make a rank that waits for the others here stop waiting: one of them is gone."""
        self.backend.abort()


def card(device: torch.device) -> str | None:
    """Return what tells a card from all others, on any machine; None if NCCL does not reach the device."""
    if device.type != "cuda" or not distributed.is_nccl_available():
        return None
    # By this and not by its number: each process may have been shown another card as its first.
    return str(torch.cuda.get_device_properties(device).uuid)


def nccl(store: Store, *, rank: int, ranks: int, patience: float, device: torch.device) -> CardGroup:
    """Return a group of processes with a card each, made without torch's global one.

    Args:
        store: Where they find each other.
        rank: Which one this is.
        ranks: How many there are.
        patience: Seconds that a rank waits for the others before it gives up.
        device: This rank's card.

    """
    made: Any = distributed.distributed_c10d
    options = made.ProcessGroupNCCL.Options()
    options._timeout = timedelta(seconds=patience)  # noqa: SLF001 - torch has no public name for it
    with _waits_that_end():
        return CardGroup(made.ProcessGroupNCCL(store, rank, ranks, options), device)


@contextmanager
def _waits_that_end() -> Iterator[None]:
    """Have groups that are made meanwhile raise when their time is over.

    Otherwise a thread of theirs would end the whole process then, which is the caller's own. The setting is
    read when a group is made; others' groups keep theirs.
    """
    before = os.environ.get(_BLOCKING)
    os.environ[_BLOCKING] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BLOCKING]
        else:
            os.environ[_BLOCKING] = before
