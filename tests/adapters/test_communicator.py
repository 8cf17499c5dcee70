"""Tests of `Communicator`: collectives over real sockets between threads of this process."""

from collections.abc import Callable
from concurrent import futures
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined] # it is public, and not in its list

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import (
    GlooCommunicator,
    gloo_communicator,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.nccl import NcclCommunicator

LONG = 120.0


def nccl_in_name(group: GlooCommunicator) -> NcclCommunicator:
    """Return an NCCL communicator on Gloo and the CPU."""
    return NcclCommunicator(group.backend, device=torch.device("cpu"), timeout=LONG)


def on_both(
    of: Callable[[GlooCommunicator], GlooCommunicator], work: Callable[[GlooCommunicator], Any]
) -> list[Any]:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def run(rank: int) -> Any:
        where = TCPStore("127.0.0.1", store.port, is_master=False)
        return work(of(gloo_communicator(where, rank=rank, world_size=2, timeout_seconds=LONG, local=True)))

    with futures.ThreadPoolExecutor(2) as threads:
        return list(threads.map(run, range(2)))


@pytest.mark.parametrize("of", [lambda group: group, nccl_in_name], ids=["gloo", "nccl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ranks_reduce_gather_and_send(
    of: Callable[[GlooCommunicator], GlooCommunicator], dtype: torch.dtype
) -> None:
    def work(group: GlooCommunicator) -> tuple[list[float], list[float]]:
        actual = torch.full((2 + group.rank,), group.rank + 1, dtype=dtype)
        total = group.all_reduce(torch.tensor([group.rank + 1.0], dtype=dtype))
        return total.tolist(), group.all_gather(actual, [2, 3]).tolist()

    assert on_both(of, work) == [([3.0], [1.0, 1.0, 2.0, 2.0, 2.0])] * 2

    def pass_on(group: GlooCommunicator) -> torch.Tensor:
        x = torch.arange(12, dtype=dtype).view(3, 4)
        if group.rank == 1:
            group.send(x.T, 0)  # which is not contiguous
            return x.T
        return GlooCommunicator.receive(group, (4, 3), dtype, 1)

    first, second = on_both(of, pass_on)
    assert torch.equal(first, second)
