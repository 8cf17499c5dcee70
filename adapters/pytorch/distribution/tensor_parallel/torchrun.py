"""Ranks that torchrun has started: each runs the whole program."""

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import attrs
import torch
from torch import Tensor
from torch.distributed import DistError, PrefixStore, rendezvous  # type: ignore[attr-defined] # public, but not in __all__

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import CollectiveError
from litgpt.adapters.pytorch.distribution.tensor_parallel.sharded_gpt import TensorParallelGPT
from litgpt.domain.generation.errors import WorkerLost
from litgpt.domain.generation.sampling_params import SamplingParams

# All ranks place their models in the same order, so the numbers agree.
_attempts = itertools.count()


class TorchrunGPT(TensorParallelGPT):
    """The shard of one rank that torchrun has started."""

    def synced_sampling(self, params: SamplingParams) -> SamplingParams:
        """Return the parameters with a seed of rank 0, if they need one and have none."""
        if params.seed is not None or params.greedy:
            return params
        seed = torch.randint(2**62, (1,))
        own = seed if self.communicator.rank == 0 else torch.zeros_like(seed)
        with translate_errors():
            return attrs.evolve(params, seed=int(self.communicator.all_reduce(own).item()))

    def collective_step(self, *_: object, **__: object) -> AbstractContextManager[object]:
        """Report the loss of another rank; each rank is called by its own program."""
        return translate_errors()

    def logits(self, hidden: Tensor) -> Tensor:
        with translate_errors():
            return super().logits(hidden)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Convert errors of collectives to WorkerLost; errors of this rank itself are unchanged."""
    try:
        yield
    except (CollectiveError, DistError) as error:
        raise WorkerLost(None, str(error).splitlines()[0]) from error


def rendezvous_store(timeout: float) -> PrefixStore:
    """Return the rendezvous store of the ranks that torchrun has started; the timeout is in seconds."""
    store, _, _ = next(iter(rendezvous("env://", timeout=timedelta(seconds=timeout))))
    return PrefixStore(f"litgpt/{next(_attempts)}", store)
