"""Gather a sharded model on rank 0, tensor by tensor.

No rank holds more than its shard and one full tensor.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import Communicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.defer_sigint import defer_sigint
from litgpt.adapters.pytorch.distribution.tensor_parallel.torchrun import TorchrunGPT, translate_errors
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.generation.errors import WorkerLost
from litgpt.domain.model import ParameterSpec
from litgpt.domain.parallel.gather_plan import GatherPlan, gather_plan

# Sent by rank 0 under torchrun in place of a tensor index.
_DONE, _FAILED = -1, -2


def shard_of(model: nn.Module, name: str) -> Tensor:
    """Return this rank's shard of a parameter."""
    module, _, leaf = name.rpartition(".")
    shard: Tensor = getattr(model.get_submodule(module), leaf)
    return shard.detach()


def gather_to_rank0(
    shape: Sequence[int], plan: GatherPlan, shard: Tensor, communicator: Communicator
) -> Tensor:
    """Return the full tensor of `shape` on rank 0, on the CPU; the other ranks call `send_shards`."""
    if plan.on_rank0:
        return shard.cpu()
    full = torch.empty(tuple(shape), dtype=shard.dtype)
    for part in plan.slices:
        target = full.narrow(plan.dim, part.range[0], part.length)
        if part.rank == 0:
            target.copy_(shard.narrow(plan.dim, part.start, part.length))
        else:
            target.copy_(communicator.receive(target.shape, shard.dtype, part.rank))
    return full


def send_shards(plan: GatherPlan, shard: Tensor, communicator: Communicator) -> None:
    """Send this rank's slices of a tensor to rank 0."""
    for part in plan.slices:
        if part.rank == communicator.rank:
            communicator.send(shard.narrow(plan.dim, part.start, part.length), 0)


def lazy_gather(
    parameters: Sequence[ParameterSpec], gather: Callable[[ParameterSpec], Tensor]
) -> Callable[[str], Tensor]:
    """Return a function that gathers tensors by name and caches the last one.

    Consecutive Hugging Face tensors, such as Q, K and V, may be slices of the same parameter.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    last: dict[str, Tensor] = {}

    def read(name: str) -> Tensor:
        if name not in last:
            last.clear()  # first, so that only one full tensor is in memory
            last[name] = gather(by_name[name])
        return last[name]

    return read


@contextmanager
def gather_from_torchrun(
    model: TorchrunGPT, parameters: Sequence[ParameterSpec]
) -> Iterator[Callable[[str], Tensor] | None]:
    """Yield a function that gathers tensors on rank 0; the other ranks serve its requests and yield None.

    All ranks pass the same parameters in the same order.

    Raises:
        UnsupportedOperation: On the other ranks: rank 0 could not finish.
        WorkerLost: A rank is gone.
    """
    group = model.communicator
    index_of = {parameter.name: index for index, parameter in enumerate(parameters)}

    def broadcast(index: int) -> int:
        return int(group.all_reduce(torch.tensor([index])).item())  # the other ranks add 0

    def gather(parameter: ParameterSpec) -> Tensor:
        plan = gather_plan(parameter, group.world_size)
        shard = shard_of(model, parameter.name)
        if plan.on_rank0:
            return shard.cpu()
        with defer_sigint(), translate_errors():
            broadcast(index_of[parameter.name])
            return gather_to_rank0(parameter.shape, plan, shard, group)

    if group.rank > 0:
        with translate_errors():
            while (index := broadcast(0)) >= 0:
                plan = gather_plan(parameters[index], group.world_size)
                send_shards(plan, shard_of(model, parameters[index].name), group)
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
