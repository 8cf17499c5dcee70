"""Ranks with a card each, as far as that can be tried without cards: with Gloo in the place of NCCL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch.distributed import HashStore  # type: ignore[attr-defined] # public, if not in its list

from litgpt.adapters.pytorch.parallel.group import ProcessGroup, gloo
from litgpt.adapters.pytorch.parallel.meeting import come_together
from litgpt.adapters.pytorch.parallel.nccl import CardGroup, card

CPU = torch.device("cpu")


def at_both(work: Callable[[ProcessGroup], Any], *, cards: bool) -> list[Any]:
    """Return what two ranks return, each a thread."""
    store = HashStore()

    def run(rank: int) -> Any:
        group = gloo(store, rank=rank, ranks=2, patience=20)
        return work(CardGroup(group.backend, CPU) if cards else group)

    with ThreadPoolExecutor(2) as threads:
        return [*threads.map(run, range(2))]


@pytest.mark.parametrize("cards", [False, True])
def test_ranks_add_up_put_end_to_end_and_send(*, cards: bool) -> None:
    def work(group: ProcessGroup) -> tuple[Any, ...]:
        mine = torch.arange(3.0) + 10 * group.rank
        added = group.sum(mine.clone())
        joined = group.gather(mine[: 2 + group.rank], [2, 3])
        if group.rank == 1:
            group.send(mine[::2], 0)
            return added.tolist(), joined.tolist(), None
        return added.tolist(), joined.tolist(), group.receive((2,), torch.float32, 1).tolist()

    first, second = at_both(work, cards=cards)
    assert first == ([10, 12, 14], [0, 1, 10, 11, 12], [10, 12])
    assert second == (*first[:2], None)


def test_ranks_on_cpus_have_no_cards_and_agree_on_gloo() -> None:
    assert card(CPU) is None
    store = HashStore()

    def meet(rank: int) -> ProcessGroup:
        return come_together(store, rank=rank, ranks=2, patience=20, device=CPU)

    with ThreadPoolExecutor(2) as threads:
        groups = [*threads.map(meet, range(2))]
    assert [type(one) for one in groups] == [ProcessGroup, ProcessGroup]
