"""Ranks that each have a CUDA device of their own, by NCCL: what they add up stays on the devices.

This has not run on GPUs yet: what is here follows torch's documentation, and the rule that chooses it is
tested without them. NCCL differs from Gloo in that its work is queued on the device, where a peer that is
gone is not an error but work that never ends. So a step ends with `settle`, which waits for it, gives up at a
deadline, and is woken by `abort`, which whoever watches the peers calls.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import ClassVar

import attrs
import torch
from torch import Tensor
from torch.distributed.distributed_c10d import Store

from litgpt.adapters.pytorch.parallel.group import CollectiveError, ProcessGroup, exchanging

_NOBODY_ENDS_THIS_PROCESS = "TORCH_NCCL_ASYNC_ERROR_HANDLING"


@attrs.define(eq=False)
class NcclGroup(ProcessGroup):
    """Ranks that are processes, by NCCL.

    Attributes:
        device: This rank's.
        patience: Seconds that it waits for the others within a step.

    """

    device: torch.device = attrs.field(kw_only=True)
    patience: float = attrs.field(kw_only=True)
    can_rejoin: ClassVar[bool] = False  # a rank that waits for its device cannot be told to stop waiting
    aborted: bool = attrs.field(default=False, init=False)

    def wait_at_most(self, seconds: float) -> None:
        """Give up on the others after so many seconds, from now on."""
        super().wait_at_most(seconds)
        self.patience = seconds

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`, where `x` is."""
        return super().sum(x.to(self.device)).to(x.device)

    def send(self, x: Tensor, to: int) -> None:
        """Send a tensor to a rank that receives it now."""
        with exchanging():
            self.backend.send([x.to(self.device).contiguous()], to, 0).wait()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, of: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        x = torch.empty(tuple(shape), dtype=dtype, device=self.device)
        with exchanging():
            self.backend.recv([x], of, 0).wait()
        self.settle()
        return x.cpu()

    def settle(self) -> None:
        """Return when what was queued on the device is done.

        Raises:
            CollectiveError: The others are gone, or do not come in time.

        """
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.device))
        deadline = time.monotonic() + self.patience
        while not done.query():
            if time.monotonic() > deadline:
                self.abort()
                raise CollectiveError(f"the other ranks did not come within {self.patience:.0f} seconds")
            time.sleep(0)
        if self.aborted:
            raise CollectiveError("another rank is gone")

    def abort(self) -> None:
        """End what waits for the others, at any moment and in any thread."""
        self.aborted = True
        self.backend.abort()


def nccl(store: Store, *, rank: int, ranks: int, patience: float, device: torch.device) -> NcclGroup:
    """Return a group of processes with a CUDA device each, made without torch's global one.

    Args:
        store: Where they find each other.
        rank: Which one this is.
        ranks: How many there are.
        patience: Seconds that a rank waits for the others before it gives up.
        device: This rank's.

    """
    from torch.distributed.distributed_c10d import ProcessGroupNCCL  # which some builds of torch have not

    options = ProcessGroupNCCL.Options()
    options._timeout = timedelta(seconds=patience)  # noqa: SLF001 - torch sets it so itself
    with _errors_left_to_us(), exchanging():
        backend = ProcessGroupNCCL(store, rank, ranks, options)
    return NcclGroup(backend, device=device, patience=patience)


@contextmanager
def _errors_left_to_us() -> Iterator[None]:
    """Keep NCCL's watchdog from ending the process that a caller's script or notebook runs in."""
    before = os.environ.get(_NOBODY_ENDS_THIS_PROCESS)
    os.environ[_NOBODY_ENDS_THIS_PROCESS] = "0"
    try:
        yield
    finally:
        del os.environ[_NOBODY_ENDS_THIS_PROCESS]
        if before is not None:
            os.environ[_NOBODY_ENDS_THIS_PROCESS] = before
