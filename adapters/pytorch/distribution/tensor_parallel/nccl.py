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

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import (
    CollectiveError,
    GlooCommunicator,
    collective_errors,
)

_ASYNC_ERROR_HANDLING = "TORCH_NCCL_ASYNC_ERROR_HANDLING"


@attrs.define(eq=False)
class NcclCommunicator(GlooCommunicator):
    """Ranks that are processes, by NCCL.

    Attributes:
        device: This rank's.
        timeout: Seconds that it waits for the others within a step.

    """

    device: torch.device = attrs.field(kw_only=True)
    timeout: float = attrs.field(kw_only=True)
    can_reconnect: ClassVar[bool] = False  # a rank that waits for its device cannot be told to stop waiting
    aborted: bool = attrs.field(default=False, init=False)

    def set_timeout(self, seconds: float) -> None:
        """Give up on the others after so many seconds, from now on."""
        super().set_timeout(seconds)
        self.timeout = seconds

    def all_reduce(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`, where `x` is."""
        return super().all_reduce(x.to(self.device)).to(x.device)

    def send(self, x: Tensor, destination: int) -> None:
        """Send a tensor to a rank that receives it now."""
        with collective_errors():
            self.backend.send([x.to(self.device).contiguous()], destination, 0).wait()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        x = torch.empty(tuple(shape), dtype=dtype, device=self.device)
        with collective_errors():
            self.backend.recv([x], source, 0).wait()
        self.synchronize()
        return x.cpu()

    def synchronize(self) -> None:
        """Return when what was queued on the device is done.

        Raises:
            CollectiveError: The others are gone, or do not come in time.

        """
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.device))
        deadline = time.monotonic() + self.timeout
        while not done.query():
            if time.monotonic() > deadline:
                self.abort()
                raise CollectiveError(f"the other ranks did not come within {self.timeout:.0f} seconds")
            time.sleep(0)
        if self.aborted:
            raise CollectiveError("another rank is gone")

    def abort(self) -> None:
        """End what waits for the others, at any moment and in any thread."""
        self.aborted = True
        self.backend.abort()


def nccl_communicator(
    store: Store, *, rank: int, world_size: int, timeout_seconds: float, device: torch.device
) -> NcclCommunicator:
    """Return a group of processes with a CUDA device each, made without torch's global one.

    Args:
        store: Where they find each other.
        rank: Which one this is.
        world_size: How many there are.
        timeout_seconds: Seconds that a rank waits for the others before it gives up.
        device: This rank's.

    """
    from torch.distributed.distributed_c10d import ProcessGroupNCCL  # which some builds of torch have not

    options = ProcessGroupNCCL.Options()
    options._timeout = timedelta(seconds=timeout_seconds)  # noqa: SLF001 - torch sets it so itself
    with _without_nccl_watchdog(), collective_errors():
        backend = ProcessGroupNCCL(store, rank, world_size, options)
    return NcclCommunicator(backend, device=device, timeout=timeout_seconds)


@contextmanager
def _without_nccl_watchdog() -> Iterator[None]:
    """Keep NCCL's watchdog from ending the process that a caller's script or notebook runs in."""
    before = os.environ.get(_ASYNC_ERROR_HANDLING)
    os.environ[_ASYNC_ERROR_HANDLING] = "0"
    try:
        yield
    finally:
        del os.environ[_ASYNC_ERROR_HANDLING]
        if before is not None:
            os.environ[_ASYNC_ERROR_HANDLING] = before
