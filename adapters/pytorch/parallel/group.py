"""What ranks do together: add up, and put end to end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import attrs
import torch
from torch import Tensor
from torch.distributed.distributed_c10d import ProcessGroupGloo, Store


class CollectiveError(RuntimeError):
    """The ranks could not do something together: another is gone, has left, or did not come in time."""


@contextmanager
def exchanging() -> Iterator[None]:
    """Tell what goes wrong between the ranks from what goes wrong at this one."""
    try:
        yield
    except (CollectiveError, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        raise CollectiveError(str(error).splitlines()[0] if str(error) else "no reason was given") from error


class Group(Protocol):
    """Ranks that compute one model."""

    @property
    def ranks(self) -> int:
        """How many there are."""
        ...

    @property
    def rank(self) -> int:
        """Which one this is."""
        ...

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`; the same tensor may be written to."""
        ...

    def gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return all ranks' `x` end to end along the last dimension.

        Args:
            x: This rank's.
            sizes: How long the last dimension is at each rank.

        """
        ...

    def send(self, x: Tensor, to: int) -> None:
        """Send a tensor to a rank that receives it now."""
        ...

    def receive(self, shape: Sequence[int], dtype: torch.dtype, of: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        ...


@attrs.define(eq=False)
class ProcessGroup:
    """Ranks that are processes, by Gloo: what is on GPUs it adds up on the CPU.

    Attributes:
        ranks: How many there are.
        rank: Which one this is.
        can_rejoin: Whether its connections can be made anew.

    """

    # torch types what makes such a group, and not what it does.
    backend: Any = attrs.field(repr=False)
    ranks: int = attrs.field(init=False)
    rank: int = attrs.field(init=False)
    can_rejoin: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        self.ranks, self.rank = int(self.backend.size()), int(self.backend.rank())

    def leave(self) -> None:
        """Close the connections: ranks that wait for this one get a CollectiveError."""
        self.backend = None

    def rejoin(self, store: Store, *, patience: float) -> None:
        """Make the connections anew, as all other ranks do now.

        Args:
            store: Where they find each other; a new one, or with a prefix that was not used before.
            patience: Seconds that this rank waits for the others before it gives up, now and later.

        Raises:
            CollectiveError: The others did not come.

        """
        self.leave()
        self.backend = gloo(store, rank=self.rank, ranks=self.ranks, patience=patience).backend

    def wait_at_most(self, seconds: float) -> None:
        """Give up on the others after so many seconds, from now on."""
        self.backend._set_default_timeout(timedelta(seconds=seconds))  # noqa: SLF001 - there is no other way

    def sum(self, x: Tensor) -> Tensor:
        """Return the sum of all ranks' `x`, in its place."""
        x = x.contiguous()
        with exchanging():
            self.backend.allreduce([x]).wait()
        return x

    def gather(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Return all ranks' `x` end to end along the last dimension."""
        longest = max(sizes)
        padded = x if x.shape[-1] == longest else torch.nn.functional.pad(x, (0, longest - x.shape[-1]))
        parts = [torch.empty_like(padded) for _ in sizes]
        with exchanging():
            self.backend.allgather([parts], [padded.contiguous()]).wait()
        return torch.cat([part[..., :size] for part, size in zip(parts, sizes, strict=True)], -1)

    def send(self, x: Tensor, to: int) -> None:
        """Send a tensor to a rank that receives it now."""
        with exchanging():
            self.backend.send([x.cpu().contiguous()], to, 0).wait()

    def receive(self, shape: Sequence[int], dtype: torch.dtype, of: int) -> Tensor:
        """Return the tensor that a rank sends to this one, on the CPU."""
        x = torch.empty(tuple(shape), dtype=dtype)
        with exchanging():
            self.backend.recv([x], of, 0).wait()
        return x

    def settle(self) -> None:
        """Return when this rank's part of a step is done: with Gloo, that is so already."""

    def abort(self) -> None:
        """End what waits for the others; with Gloo, that ends when they are gone."""


def gloo(store: Store, *, rank: int, ranks: int, patience: float) -> ProcessGroup:
    """Return a group of processes that reach each other over the network, made without torch's global one.

    Args:
        store: Where they find each other.
        rank: Which one this is.
        ranks: How many there are.
        patience: Seconds that a rank waits for the others before it gives up.

    Raises:
        CollectiveError: The others did not come.

    """
    with exchanging():
        return ProcessGroup(ProcessGroupGloo(store, rank, ranks, timedelta(seconds=patience)))
