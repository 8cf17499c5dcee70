"""A model that is split over ranks, tensor by tensor at the first of them, which writes it.

No rank ever holds more than its part and one whole tensor.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.parallel.given import GivenGPT, in_our_words
from litgpt.adapters.pytorch.parallel.group import Group
from litgpt.adapters.pytorch.parallel.interruptions import uninterrupted
from litgpt.domain.computing_errors import WorkerLost
from litgpt.domain.errors import OutOfReach
from litgpt.domain.gathering import Patchwork, patchwork
from litgpt.domain.parameters import Parameter

# What the first of given ranks says in place of the number of the tensor that it wants.
_DONE, _FAILED = -1, -2


def part_of(model: nn.Module, name: str) -> Tensor:
    """Return this rank's part of a tensor, by its name."""
    module, _, leaf = name.rpartition(".")
    part: Tensor = getattr(model.get_submodule(module), leaf)
    return part.detach()


def gather(shape: Sequence[int], work: Patchwork, part: Tensor, group: Group) -> Tensor:
    """Return a whole tensor, on the CPU, at the first rank; the others `hand_over` their parts meanwhile.

    Args:
        shape: Its shape.
        work: Who has what of it.
        part: What this rank has.
        group: The ranks.

    """
    if work.alone:
        return part.cpu()
    whole = torch.empty(tuple(shape), dtype=part.dtype)
    for patch in work.patches:
        room = whole.narrow(work.dimension, patch.span[0], patch.length)
        if patch.rank == 0:
            room.copy_(part.narrow(work.dimension, patch.start, patch.length))
        else:
            room.copy_(group.receive(room.shape, part.dtype, patch.rank))
    return whole


def hand_over(work: Patchwork, part: Tensor, group: Group) -> None:
    """Send the first rank what it lacks of a tensor.

    Args:
        work: Who has what of it.
        part: What this rank has.
        group: The ranks.

    """
    for patch in work.patches:
        if patch.rank == group.rank:
            group.send(part.narrow(work.dimension, patch.start, patch.length), 0)


def one_at_a_time(
    parameters: Sequence[Parameter], whole: Callable[[Parameter], Tensor]
) -> Callable[[str], Tensor]:
    """Return what reads whole tensors by name, and keeps the last: three of theirs may be parts of one.

    Args:
        parameters: All of them.
        whole: Gathers one.

    """
    by_name = {parameter.name: parameter for parameter in parameters}
    last: dict[str, Tensor] = {}

    def read(name: str) -> Tensor:
        if name not in last:
            last.clear()  # before the next is there
            last[name] = whole(by_name[name])
        return last[name]

    return read


@contextmanager
def gathered_from_given(
    model: GivenGPT, parameters: Sequence[Parameter]
) -> Iterator[Callable[[str], Tensor] | None]:
    """Give the first rank what reads whole tensors; at the others, help until it is done, and give None.

    Args:
        model: The rank's part.
        parameters: All tensors of the whole, in an order that is the same at all ranks.

    Raises:
        OutOfReach: At the others: the first rank could not finish.
        WorkerLost: A rank is gone.

    """
    group = model.group
    number_of = {parameter.name: number for number, parameter in enumerate(parameters)}

    def say(number: int) -> int:
        return int(group.sum(torch.tensor([number])).item())

    def whole(parameter: Parameter) -> Tensor:
        work, part = patchwork(model.whole, parameter, group.ranks), part_of(model, parameter.name)
        if work.alone:
            return part.cpu()
        with uninterrupted(), in_our_words():
            say(number_of[parameter.name])
            return gather(parameter.shape, work, part, group)

    if group.rank > 0:
        with in_our_words():
            while (number := say(0)) >= 0:
                work = patchwork(model.whole, parameters[number], group.ranks)
                hand_over(work, part_of(model, parameters[number].name), group)
        if number == _FAILED:
            raise OutOfReach("Saving the model", "the first rank could not; its own error says why.")
        yield None
        return
    try:
        yield one_at_a_time(parameters, whole)
    except WorkerLost:
        raise  # there is nobody left to tell
    except BaseException:
        with uninterrupted(), in_our_words():
            say(_FAILED)
        raise
    with uninterrupted(), in_our_words():
        say(_DONE)
