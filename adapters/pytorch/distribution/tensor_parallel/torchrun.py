"""Ranks that were started from outside, as torchrun does: each runs the whole program by itself."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import attrs
import torch
from torch import Tensor
from torch.distributed import DistError, PrefixStore, rendezvous  # type: ignore[attr-defined] # public, if not in its list

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import CollectiveError
from litgpt.adapters.pytorch.distribution.tensor_parallel.sharded_gpt import TensorParallelGPT
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.domain.generation.errors import WorkerLost
from litgpt.domain.generation.sampling_params import SamplingParams

# Every rank places its models in the same order, so that these numbers are the same everywhere.
_attempts = itertools.count()


class TorchrunGPT(TensorParallelGPT):
    """A rank's part of a network, at a rank that runs the whole program by itself."""

    def synced_sampling(self, params: SamplingParams) -> SamplingParams:
        """Return how to draw: where no seed is given, by the first rank's."""
        if params.seed is not None or params.greedy:
            return params
        seed = torch.randint(2**62, (1,))
        mine = seed if self.communicator.rank == 0 else torch.zeros_like(seed)
        with translate_errors():
            return attrs.evolve(params, seed=int(self.communicator.all_reduce(mine).item()))

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return logits, as all ranks together compute them.

        Raises:
            WorkerLost: The others did not take part in time.

        """
        with translate_errors():
            logits = super().forward(input_ids, cache, positions=positions, last_token_only=last_token_only)
            self.communicator.synchronize()
            return logits

    def hidden_states(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return what the head reads, as all ranks together compute it.

        Raises:
            WorkerLost: The others did not take part in time.

        """
        with translate_errors():
            return super().hidden_states(
                input_ids, cache, positions=positions, last_token_only=last_token_only
            )

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of what the head reads, as all ranks together compute them.

        Raises:
            WorkerLost: The others did not take part in time.

        """
        with translate_errors():
            return super().logits(hidden)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn what a group says of ranks that are gone, or do not come in time, into our error.

    An error of this rank's own stays as it is.
    """
    try:
        yield
    except (CollectiveError, DistError) as error:
        raise WorkerLost(None, str(error).splitlines()[0]) from error


def rendezvous_store(timeout: float) -> PrefixStore:
    """Return where this rank finds those that were started together with it.

    Args:
        timeout: Seconds that it waits for the first of them before it gives up.

    """
    store, _, _ = next(iter(rendezvous("env://", timeout=timedelta(seconds=timeout))))
    return PrefixStore(f"litgpt/{next(_attempts)}", store)
