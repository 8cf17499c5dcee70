"""A model that is split over ranks, tensor by tensor at the first of them, which writes it.

No rank ever holds more than its part and one whole tensor.
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
from litgpt.domain.parallel.gather_plan import GatherPlan, gather_plan
from litgpt.domain.weights.parameters import ParameterSpec

# What the first of given ranks says in place of the number of the tensor that it wants.
_DONE, _FAILED = -1, -2


def shard_of(model: nn.Module, name: str) -> Tensor:
    """Return this rank's part of a tensor, by its name."""
    module, _, leaf = name.rpartition(".")
    part: Tensor = getattr(model.get_submodule(module), leaf)
    return part.detach()


def gather_to_rank0(
    shape: Sequence[int], plan: GatherPlan, shard: Tensor, communicator: Communicator
) -> Tensor:
    """Return a whole tensor, on the CPU, at the first rank; the others `hand_over` their parts meanwhile.

    Args:
        shape: Its shape.
        plan: Who has what of it.
        shard: What this rank has.
        communicator: The ranks.

    """
    if plan.on_rank0:
        return shard.cpu()
    whole = torch.empty(tuple(shape), dtype=shard.dtype)
    for patch in plan.slices:
        room = whole.narrow(plan.dim, patch.range[0], patch.length)
        if patch.rank == 0:
            room.copy_(shard.narrow(plan.dim, patch.start, patch.length))
        else:
            room.copy_(communicator.receive(room.shape, shard.dtype, patch.rank))
    return whole


def send_shards(plan: GatherPlan, shard: Tensor, communicator: Communicator) -> None:
    """Send the first rank what it lacks of a tensor.

    Args:
        plan: Who has what of it.
        shard: What this rank has.
        communicator: The ranks.

    """
    for patch in plan.slices:
        if patch.rank == communicator.rank:
            communicator.send(shard.narrow(plan.dim, patch.start, patch.length), 0)


def lazy_gather(
    parameters: Sequence[ParameterSpec], gather: Callable[[ParameterSpec], Tensor]
) -> Callable[[str], Tensor]:
    """Return what reads whole tensors by name, and keeps the last: three of theirs may be parts of one.

    Args:
        parameters: All of them.
        gather: Gathers one.

    """
    by_name = {parameter.name: parameter for parameter in parameters}
    last: dict[str, Tensor] = {}

    def read(name: str) -> Tensor:
        if name not in last:
            last.clear()  # before the next is there
            last[name] = gather(by_name[name])
        return last[name]

    return read


@contextmanager
def gather_from_torchrun(
    model: TorchrunGPT, parameters: Sequence[ParameterSpec]
) -> Iterator[Callable[[str], Tensor] | None]:
    """Give the first rank what reads whole tensors; at the others, help until it is done, and give None.

    Args:
        model: The rank's part.
        parameters: All tensors of the whole, in an order that is the same at all ranks.

    Raises:
        OutOfReach: At the others: the first rank could not finish.
        WorkerLost: A rank is gone.

    """
    group = model.communicator
    number_of = {parameter.name: number for number, parameter in enumerate(parameters)}

    def say(number: int) -> int:
        return int(group.all_reduce(torch.tensor([number])).item())

    def whole(parameter: ParameterSpec) -> Tensor:
        work, part = (
            gather_plan(model.full_architecture, parameter, group.world_size),
            shard_of(model, parameter.name),
        )
        if work.on_rank0:
            return part.cpu()
        with defer_sigint(), translate_errors():
            say(number_of[parameter.name])
            return gather_to_rank0(parameter.shape, work, part, group)

    if group.rank > 0:
        with translate_errors():
            while (number := say(0)) >= 0:
                work = gather_plan(model.full_architecture, parameters[number], group.world_size)
                send_shards(work, shard_of(model, parameters[number].name), group)
        if number == _FAILED:
            raise UnsupportedOperation(
                "Saving the model", "the first rank could not; its own error says why."
            )
        yield None
        return
    try:
        yield lazy_gather(parameters, whole)
    except WorkerLost:
        raise  # there is nobody left to tell
    except BaseException:
        with defer_sigint(), translate_errors():
            say(_FAILED)
        raise
    with defer_sigint(), translate_errors():
        say(_DONE)
