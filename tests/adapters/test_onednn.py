"""Tests of torch's oneDNN switch when threads need different settings."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from litgpt.adapters.pytorch.ops.linear import without_onednn_for_small_batches
from litgpt.adapters.pytorch.ops.onednn import OneDnnSwitch, onednn_switch

CPU = torch.device("cpu")
TIMEOUT = 120.0


def is_on() -> bool:
    return bool(getattr(torch.backends.mkldnn, "enabled"))  # noqa: B009 - torch types it as its descriptor


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    assert is_on()
    yield
    assert is_on()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_few_rows_of_bfloat16_are_multiplied_without_it() -> None:
    with without_onednn_for_small_batches(batch_size=1, dtype=torch.bfloat16, device=CPU):
        assert not is_on()
    with without_onednn_for_small_batches(batch_size=4, dtype=torch.bfloat16, device=CPU):
        assert is_on()
    with without_onednn_for_small_batches(batch_size=1, dtype=torch.float32, device=CPU):
        assert is_on()


def test_it_stays_as_each_block_wants_it_until_the_block_ends(threads: ThreadPoolExecutor) -> None:
    counts, shared = [0] * 8, OneDnnSwitch()

    def step(number: int) -> None:
        on = number % 2 == 0
        while min(counts) < 4 and max(counts) < 10_000:  # which ends too if another thread has failed
            with shared.set_to(on=on):
                for _ in range(3):
                    assert is_on() == on
                    time.sleep(0.0005)
            counts[number] += 1

    for i in [threads.submit(step, number) for number in range(8)]:
        i.result(TIMEOUT)
    assert min(counts) >= 4


def test_threads_with_equal_settings_do_not_wait_for_each_other(threads: ThreadPoolExecutor) -> None:
    together = threading.Barrier(4)

    def step(_: int) -> None:
        with onednn_switch.set_to(on=False):
            together.wait(TIMEOUT)

    list(threads.map(step, range(4)))


def test_a_users_disabled_setting_stays_disabled(threads: ThreadPoolExecutor) -> None:
    together = threading.Barrier(2)

    def step(number: int) -> None:
        with onednn_switch.set_to(on=number == 0):
            together.wait(TIMEOUT)  # it is off for both: none waits
            assert not is_on()

    setattr(torch.backends.mkldnn, "enabled", False)  # noqa: B010 - torch types it as its descriptor
    try:
        list(threads.map(step, range(2)))
        assert not is_on()
    finally:
        setattr(torch.backends.mkldnn, "enabled", True)  # noqa: B010 - as above


def test_a_block_within_another_does_not_wait_for_itself() -> None:
    with onednn_switch.set_to(on=False), onednn_switch.set_to(on=True):
        assert not is_on()
    with onednn_switch.set_to(on=True):
        assert is_on()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_wait_for_its_parents_threads(threads: ThreadPoolExecutor) -> None:
    started, go_on = threading.Event(), threading.Event()

    def step() -> None:
        with onednn_switch.set_to(on=False):
            started.set()
            go_on.wait(TIMEOUT)

    future = threads.submit(step)
    assert started.wait(TIMEOUT)
    child = os.fork()
    if not child:
        with onednn_switch.set_to(on=True):
            os._exit(7 if is_on() else 8)
    go_on.set()
    future.result(TIMEOUT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
