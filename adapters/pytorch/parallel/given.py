"""Ranks that were started from outside, as torchrun does: each runs the whole program by itself."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import attrs
import torch
from torch import Tensor
from torch.distributed import DistError, PrefixStore, rendezvous  # type: ignore[attr-defined] # public, if not in its list

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.parallel.group import CollectiveError
from litgpt.adapters.pytorch.parallel.split import SplitGPT
from litgpt.domain.computing_errors import WorkerLost
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
            logits = super().forward(input_ids, cache, positions=positions, last=last)
            self.group.settle()
            return logits

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
    """Turn what a group says of ranks that are gone, or do not come in time, into our error.

    An error of this rank's own stays as it is.
    """
    try:
        yield
    except (CollectiveError, DistError) as error:
        raise WorkerLost(None, str(error).splitlines()[0]) from error


def meet(patience: float) -> PrefixStore:
    """Return where this rank finds those that were started together with it.

    Args:
        patience: Seconds that it waits for the first of them before it gives up.

    """
    store, _, _ = next(iter(rendezvous("env://", timeout=timedelta(seconds=patience))))
    return PrefixStore(f"litgpt/{next(_numbers)}", store)
