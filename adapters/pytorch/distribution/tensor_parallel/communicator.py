"""What ranks do together: add up, and put end to end."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import attrs
import torch
from torch import Tensor
from torch.distributed.distributed_c10d import ProcessGroupGloo, Store

# Ranks that a crew watches wait for each other without a limit of Gloo's, which would count a process that is
# stopped (SIGSTOP, a debugger) as one that hangs.
_NO_TIMEOUT = 365 * 24 * 3600.0


class CollectiveError(RuntimeError):
    """The ranks could not do something together: another is gone, has left, or did not come in time."""


@contextmanager
def collective_errors() -> Iterator[None]:
    """Tell what goes wrong between the ranks from what goes wrong at this one."""
    try:
        yield
    except (CollectiveError, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        raise CollectiveError(str(error).splitlines()[0] if str(error) else "no reason was given") from error


class Communicator(Protocol):
    """Ranks that compute one model."""

    @property
    def world_size(self) -> int:
        """How many there are."""
        ...

    @property
    def rank(self) -> int:
        """Which one this is."""
        ...

    def all_reduce(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`; the same tensor may be written to."""
        ...

    def all_gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return all ranks' `x` end to end along the last dimension.

        Args:
            x: This rank's.
            sizes: How long the last dimension is at each rank.

        """
        ...

    def send(self, x: Tensor, destination: int) -> None:
        """Send a tensor to a rank that receives it now."""
        ...

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        ...


@attrs.define(eq=False)
class GlooCommunicator:
    """Ranks that are processes, by Gloo: what is on GPUs it adds up on the CPU.

    Attributes:
        world_size: How many there are.
        rank: Which one this is.
        can_reconnect: Whether its connections can be made anew.
        local: Whether all ranks are on this machine and reach each other by loopback alone.
        num_exchanges: How many exchanges with the other ranks were begun and ended: odd within one.

    """

    # torch types what makes such a group, and not what it does.
    backend: Any = attrs.field(repr=False)
    local: bool = attrs.field(default=False, kw_only=True)
    num_exchanges: int = attrs.field(default=0, init=False)
    world_size: int = attrs.field(init=False)
    rank: int = attrs.field(init=False)
    can_reconnect: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        self.world_size, self.rank = int(self.backend.size()), int(self.backend.rank())

    def leave(self) -> None:
        """Close the connections: ranks that wait for this one get a CollectiveError."""
        self.backend = None

    def reconnect(self, store: Store, *, timeout: float) -> None:
        """Make the connections anew, as all other ranks do now.

        Args:
            store: Where they find each other; a new one, or with a prefix that was not used before.
            timeout: Seconds that this rank waits for the others before it gives up, as in `gloo`.

        Raises:
            CollectiveError: The others did not come.

        """
        self.leave()
        local = self.local
        self.backend = gloo_communicator(
            store, rank=self.rank, world_size=self.world_size, timeout_seconds=timeout, local=local
        ).backend

    def set_timeout(self, seconds: float) -> None:
        """Give up on the others after so many seconds, from now on."""
        self.backend._set_default_timeout(timedelta(seconds=seconds))  # noqa: SLF001 - there is no other way

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """Count an exchange, and tell what goes wrong between the ranks from what goes wrong at this one."""
        self.num_exchanges += 1
        try:
            with collective_errors():
                yield
        finally:
            self.num_exchanges += 1

    def all_reduce(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`, in its place."""
        x = x.contiguous()
        with self.exchanging():
            self.backend.allreduce([x]).wait()
        return x

    def all_gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return all ranks' `x` end to end along the last dimension."""
        longest = max(sizes)
        padded = x if x.shape[-1] == longest else torch.nn.functional.pad(x, (0, longest - x.shape[-1]))
        parts = [torch.empty_like(padded) for _ in sizes]
        with self.exchanging():
            self.backend.allgather([parts], [padded.contiguous()]).wait()
        return torch.cat([part[..., :size] for part, size in zip(parts, sizes, strict=True)], -1)

    def send(self, x: Tensor, destination: int) -> None:
        """Send a tensor to a rank that receives it now."""
        with self.exchanging():
            self.backend.send([x.cpu().contiguous()], destination, 0).wait()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, source: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        x = torch.empty(tuple(shape), dtype=dtype)
        with self.exchanging():
            self.backend.recv([x], source, 0).wait()
        return x

    def synchronize(self) -> None:
        """Return when this rank's part of a step is done: with Gloo, that is so already."""

    def abort(self) -> None:
        """End what waits for the others; with Gloo, that ends when they are gone."""


def gloo_communicator(
    store: Store, *, rank: int, world_size: int, timeout_seconds: float, local: bool
) -> GlooCommunicator:
    """Return a group of processes that reach each other over sockets, made without torch's global one.

    Args:
        store: Where they find each other.
        rank: Which one this is.
        world_size: How many there are.
        timeout_seconds: Seconds that a rank waits for the others before it gives up: at first and, unless
            they are
            local, later. Whoever starts local ranks watches them.
        local: Whether all ranks are on this machine. Gloo then listens on the loopback interface only,
            whatever GLOO_SOCKET_IFNAME and the host's name say.

    Raises:
        CollectiveError: The others did not come.

    """
    timeout = timedelta(seconds=timeout_seconds)
    if not local:
        with collective_errors():
            return GlooCommunicator(ProcessGroupGloo(store, rank, world_size, timeout))
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined] # noqa: SLF001 - as torch does itself
    options._timeout = timeout  # noqa: SLF001 - as above
    options._devices = [ProcessGroupGloo.create_device(hostname=_loopback(), lazy_init=False)]  # noqa: SLF001
    with collective_errors():
        group = GlooCommunicator(ProcessGroupGloo(store, rank, world_size, options), local=True)
    group.set_timeout(_NO_TIMEOUT)
    return group


def _loopback() -> str:
    """Return the address of the loopback interface, which on a machine without IPv4 is that of IPv6."""
    try:
        with socket.socket(socket.AF_INET) as found:
            found.bind(("127.0.0.1", 0))
    except OSError:
        return "::1"
    return "127.0.0.1"
