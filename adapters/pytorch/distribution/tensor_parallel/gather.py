"""Gather a sharded model on rank 0, tensor by tensor.

No rank holds more than its shard and one full tensor.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import Communicator
from litgpt.domain.model import ParameterSpec
from litgpt.domain.parallel.gather_plan import GatherPlan


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
