"""Ranks that torchrun has started: each runs the whole program."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

import torch
from torch import Tensor
from torch.distributed import DistError, PrefixStore, rendezvous  # type: ignore[attr-defined] # public, but not in __all__

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import CollectiveError
from litgpt.adapters.pytorch.distribution.tensor_parallel.defer_sigint import defer_sigint
from litgpt.adapters.pytorch.distribution.tensor_parallel.gather import (
    gather_to_rank0,
    lazy_gather,
    send_shards,
    shard_of,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.sharded_gpt import TensorParallelGPT
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.generation.errors import WorkerLost
from litgpt.domain.model import ParameterSpec
from litgpt.domain.parallel.gather_plan import gather_plan

# All ranks place their models in the same order, so the numbers agree.
_attempts = itertools.count()

# Sent by rank 0 in place of the index of a tensor to gather.
_DONE, _FAILED = -1, -2


class TorchrunGPT(TensorParallelGPT):
    """The shard of one rank that torchrun has started."""

    runs_on_each_rank = True

    def least_value(self, number: int) -> int:
        """Return the least number of all ranks."""
        with translate_errors():
            numbers = self.communicator.all_gather(torch.tensor([number]), [1] * self.communicator.world_size)
        return int(numbers.min().item())

    def rank0_value(self, number: int) -> int:
        """Return the number of rank 0."""
        own = torch.tensor([number if self.communicator.rank == 0 else 0])
        with translate_errors():
            return int(self.communicator.all_reduce(own).item())

    def collective_step(self, *_: object, **__: object) -> AbstractContextManager[object]:
        """Report the loss of another rank; each rank is called by its own program."""
        return translate_errors()

    @contextmanager
    def gather_context(self, parameters: Sequence[ParameterSpec]) -> Iterator[Callable[[str], Tensor] | None]:
        """Yield a function that gathers tensors on rank 0; the other ranks serve its requests and yield None.

        All ranks pass the same parameters in the same order.

        Raises:
            UnsupportedOperation: On the other ranks: rank 0 could not finish.
            WorkerLost: A rank is gone.
        """
        group = self.communicator
        index_of = {parameter.name: index for index, parameter in enumerate(parameters)}

        def broadcast(index: int) -> int:
            return int(group.all_reduce(torch.tensor([index])).item())  # the other ranks add 0

        def gather(parameter: ParameterSpec) -> Tensor:
            plan = gather_plan(parameter, group.world_size)
            shard = shard_of(self, parameter.name)
            if plan.on_rank0:
                return shard.cpu()
            with defer_sigint(), translate_errors():
                broadcast(index_of[parameter.name])
                return gather_to_rank0(parameter.shape, plan, shard, group)

        if group.rank > 0:
            with translate_errors():
                while (index := broadcast(0)) >= 0:
                    plan = gather_plan(parameters[index], group.world_size)
                    send_shards(plan, shard_of(self, parameters[index].name), group)
            if index == _FAILED:
                raise UnsupportedOperation("Saving the model", "rank 0 failed; see its error for the cause.")
            yield None
            return
        try:
            yield lazy_gather(parameters, gather)
        except WorkerLost:
            raise  # the other ranks cannot be notified
        except BaseException:
            with defer_sigint(), translate_errors():
                broadcast(_FAILED)
            raise
        with defer_sigint(), translate_errors():
            broadcast(_DONE)

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
