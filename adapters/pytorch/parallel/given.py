"""Ranks that were started from outside, as torchrun does: each runs the whole program by itself."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import attrs
import torch
from torch import Tensor
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined] # public, if not in its list

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.parallel.group import ProcessGroup
from litgpt.adapters.pytorch.parallel.meeting import come_together
from litgpt.adapters.pytorch.parallel.split import SplitGPT
from litgpt.domain.errors import LitGPTError, WorkerLost
from litgpt.domain.sampling import Sampling

# Every rank places its models in the same order, so that these numbers are the same everywhere.
_numbers = itertools.count()


class GivenGPT(SplitGPT):
    """A rank's part of a network, at a rank that runs the whole program by itself."""

    def agreed(self, sampling: Sampling) -> Sampling:
        """Return how to draw: where no seed is given, by the first rank's."""
        if sampling.seed is not None or sampling.greedy:
            return sampling
        seed = torch.randint(2**62, (1,))
        mine = seed if self.group.rank == 0 else torch.zeros_like(seed)
        with in_our_words():
            return attrs.evolve(sampling, seed=int(self.group.sum(mine).item()))

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return logits, as all ranks together compute them.

        Raises:
            WorkerLost: The others did not take part in time.

        """
        with in_our_words():
            return super().forward(input_ids, cache, positions=positions, last=last)

    def hidden(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return what the head reads, as all ranks together compute it.

        Raises:
            WorkerLost: The others did not take part in time.

        """
        with in_our_words():
            return super().hidden(input_ids, cache, positions=positions, last=last)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of what the head reads, as all ranks together compute them.

        Raises:
            WorkerLost: The others did not take part in time.

        """
        with in_our_words():
            return super().logits(hidden)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn what a group says of ranks that are gone, or do not come in time, into our error."""
    try:
        yield
    except LitGPTError:
        raise
    except RuntimeError as error:
        raise WorkerLost(None, str(error).splitlines()[0]) from error


def meet(patience: float, device: torch.device) -> ProcessGroup:
    """Return the ranks that were started together with this one.

    Args:
        patience: Seconds that a rank waits for the others before it gives up.
        device: What this rank computes on.

    """
    store, rank, ranks = next(iter(rendezvous("env://", timeout=timedelta(seconds=patience))))
    own = PrefixStore(f"litgpt/{next(_numbers)}", store)
    return come_together(own, rank=rank, ranks=ranks, patience=patience, device=device)
