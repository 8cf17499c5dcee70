"""Collectives between ranks: all-reduce, all-gather, send and receive."""

import atexit
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Protocol
from weakref import WeakSet

import attrs
import torch
from torch import Tensor
from torch.distributed.distributed_c10d import ProcessGroupGloo, Store

# Ranks of a worker pool use no Gloo timeout, which would treat a stopped process (SIGSTOP, a debugger) as
# hanging. The pool detects lost workers itself.
_NO_TIMEOUT = 365 * 24 * 3600.0


class CollectiveError(RuntimeError):
    """A collective failed: another rank is gone, has left, or timed out."""


@contextmanager
def collective_errors() -> Iterator[None]:
    """Convert failures of the backend to CollectiveError; out-of-memory errors of this rank pass through."""
    try:
        yield
    except (CollectiveError, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        raise CollectiveError(
            str(error).splitlines()[0] if str(error) else "the backend gave no reason"
        ) from error


class Communicator(Protocol):
    """Ranks that compute one model."""

    @property
    def world_size(self) -> int: ...

    @property
    def rank(self) -> int: ...

    def all_reduce(self, x: Tensor) -> Tensor:
        """Return the sum of `x` over all ranks; `x` may be overwritten."""
        ...

    def all_gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return the `x` of all ranks, concatenated along the last dimension, of size `sizes[rank]`."""
        ...

    def send(self, x: Tensor, destination: int) -> None:
        """Send a tensor to the rank `destination`, which must call `receive`."""
        ...

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        """Return the tensor that the rank `source` sends, on the CPU."""
        ...


_CONNECTED: "WeakSet[GlooCommunicator]" = WeakSet()
"""Those of torchrun's ranks; a worker pool closes its own."""

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_CONNECTED.clear)  # Gloo's threads are not in the child


@atexit.register
def _leave_all() -> None:
    """Join Gloo's threads: a process that ends while they run can abort."""
    for communicator in list(_CONNECTED):
        communicator.leave()


@attrs.define(eq=False)
class GlooCommunicator:
    """Collectives between processes with Gloo; tensors on GPUs are reduced on the CPU.

    Attributes:
        can_reconnect: Whether the connections can be re-established after a failure.
        local: Whether all ranks run on this machine and use the loopback interface only.
        num_exchanges: The number of started plus completed collectives; odd during a collective.
    """

    # The methods of ProcessGroupGloo have no type annotations in torch.
    backend: Any = attrs.field(repr=False)
    local: bool = attrs.field(default=False, kw_only=True)
    num_exchanges: int = attrs.field(default=0, init=False)
    world_size: int = attrs.field(init=False)
    rank: int = attrs.field(init=False)
    can_reconnect: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        self.world_size, self.rank = int(self.backend.size()), int(self.backend.rank())
        if not self.local:
            _CONNECTED.add(self)

    def leave(self) -> None:
        """Close the connections; ranks that wait for this one get a CollectiveError."""
        self.backend = None

    def reconnect(self, store: Store, *, timeout: float) -> None:
        """Re-establish the connections; all other ranks must do so at the same time.

        `store` is a new rendezvous store, or one with an unused prefix; `timeout` is in seconds.
        """
        self.leave()
        local = self.local
        self.backend = gloo_communicator(
            store, rank=self.rank, world_size=self.world_size, timeout_seconds=timeout, local=local
        ).backend

    def set_timeout(self, seconds: float) -> None:
        self.backend._set_default_timeout(timedelta(seconds=seconds))  # noqa: SLF001 - torch has no public setter

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """Count a collective, and convert its failures to CollectiveError."""
        self.num_exchanges += 1
        try:
            with collective_errors():
                yield
        finally:
            self.num_exchanges += 1

    def all_reduce(self, x: Tensor) -> Tensor:
        """Return the sum of `x` over all ranks, in place if `x` is contiguous."""
        x = x.contiguous()
        with self.exchanging():
            self.backend.allreduce([x]).wait()
        return x

    def all_gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        longest = max(sizes)
        padded = x if x.shape[-1] == longest else torch.nn.functional.pad(x, (0, longest - x.shape[-1]))
        parts = [torch.empty_like(padded) for _ in sizes]
        with self.exchanging():
            self.backend.allgather([parts], [padded.contiguous()]).wait()
        return torch.cat([part[..., :size] for part, size in zip(parts, sizes, strict=True)], -1)

    def send(self, x: Tensor, destination: int) -> None:
        with self.exchanging():
            self.backend.send([x.cpu().contiguous()], destination, 0).wait()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        x = torch.empty(tuple(shape), dtype=dtype)
        with self.exchanging():
            self.backend.recv([x], source, 0).wait()
        return x

    def synchronize(self) -> None:
        """Do nothing: Gloo collectives are synchronous."""

    def abort(self) -> None:
        """Do nothing: Gloo collectives fail by themselves when a rank is gone."""


def gloo_communicator(
    store: Store, *, rank: int, world_size: int, timeout_seconds: float, local: bool
) -> GlooCommunicator:
    """Connect to the other ranks with Gloo, independently of torch's default process group.

    Local ranks use the loopback interface only, independently of GLOO_SOCKET_IFNAME and the host name. The
    timeout applies to the connection and, unless the ranks are local, to each collective: the process that
    starts local ranks monitors them.

    Raises:
        CollectiveError: Another rank did not connect in time.
    """
    timeout = timedelta(seconds=timeout_seconds)
    if not local:
        with collective_errors():
            return GlooCommunicator(ProcessGroupGloo(store, rank, world_size, timeout))
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined] # noqa: SLF001 - as in torch itself
    options._timeout = timeout  # noqa: SLF001 - as above
    options._devices = [ProcessGroupGloo.create_device(hostname=_loopback(), lazy_init=False)]  # noqa: SLF001
    with collective_errors():
        group = GlooCommunicator(ProcessGroupGloo(store, rank, world_size, options), local=True)
    group.set_timeout(_NO_TIMEOUT)
    return group


def _loopback() -> str:
    """Return the address of the loopback interface, of IPv6 if the machine has no IPv4."""
    try:
        with socket.socket(socket.AF_INET) as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError:
        return "::1"
    return "127.0.0.1"
