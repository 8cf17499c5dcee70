"""Collectives between ranks with one CUDA device each, with NCCL.

This module has not been tested on GPUs yet; it follows torch's documentation. NCCL queues its kernels on the
device, where a lost peer does not raise an error: the kernel never ends. Each step therefore ends with
`synchronize`, which has a timeout and which `abort` interrupts when the worker pool detects a lost peer.
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
    """Collectives between processes with NCCL; `timeout` is that of a step, in seconds."""

    device: torch.device = attrs.field(kw_only=True)
    timeout: float = attrs.field(kw_only=True)
    can_reconnect: ClassVar[bool] = False  # a rank that waits for its device cannot receive commands
    aborted: bool = attrs.field(default=False, init=False)

    def set_timeout(self, seconds: float) -> None:
        super().set_timeout(seconds)
        self.timeout = seconds

    def all_reduce(self, x: Tensor) -> Tensor:
        return super().all_reduce(x.to(self.device)).to(x.device)

    def send(self, x: Tensor, destination: int) -> None:
        with collective_errors():
            self.backend.send([x.to(self.device).contiguous()], destination, 0).wait()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        x = torch.empty(tuple(shape), dtype=dtype, device=self.device)
        with collective_errors():
            self.backend.recv([x], source, 0).wait()
        self.synchronize()
        return x.cpu()

    def synchronize(self) -> None:
        """Wait for the queued kernels; raise CollectiveError if another rank is gone or timed out."""
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.device))
        deadline = time.monotonic() + self.timeout
        while not done.query():
            if time.monotonic() > deadline:
                self.abort()
                raise CollectiveError(f"the other ranks did not respond within {self.timeout:.0f} seconds")
            time.sleep(0)
        if self.aborted:
            raise CollectiveError("another rank is gone")

    def abort(self) -> None:
        """Abort pending collectives; may be called from any thread."""
        self.aborted = True
        self.backend.abort()


def nccl_communicator(
    store: Store, *, rank: int, world_size: int, timeout_seconds: float, device: torch.device
) -> NcclCommunicator:
    """Connect to the other ranks with NCCL, independently of torch's default process group."""
    from torch.distributed.distributed_c10d import ProcessGroupNCCL  # not in all builds of torch

    options = ProcessGroupNCCL.Options()
    options._timeout = timedelta(seconds=timeout_seconds)  # noqa: SLF001 - as in torch itself
    with _without_nccl_watchdog(), collective_errors():
        backend = ProcessGroupNCCL(store, rank, world_size, options)
    return NcclCommunicator(backend, device=device, timeout=timeout_seconds)


@contextmanager
def _without_nccl_watchdog() -> Iterator[None]:
    """Disable NCCL's watchdog, which would end the process of the caller's script or notebook."""
    before = os.environ.get(_ASYNC_ERROR_HANDLING)
    os.environ[_ASYNC_ERROR_HANDLING] = "0"
    try:
        yield
    finally:
        del os.environ[_ASYNC_ERROR_HANDLING]
        if before is not None:
            os.environ[_ASYNC_ERROR_HANDLING] = before
