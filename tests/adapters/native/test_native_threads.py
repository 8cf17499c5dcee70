"""The native thread pool: the same results for any number of threads, in forks and under load."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.adapters.native.kernel_library import int64, kernel_library

ITEMS, GRAIN = 64, 3


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    set_threads(1)


def set_threads(count: int) -> None:
    assert kernel_library().test_set_threads(count) == 0


def result(loops: int = 2000, items: int = ITEMS, grain: int = GRAIN) -> int:
    return int(kernel_library().test_dependent_loops(int64(loops), int64(items), int64(grain)))


def in_fork(compute: Callable[[], int]) -> int:
    """Return the result of a child of this process; a child that hangs is ended."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        os.write(writes, str(compute()).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        output = pipe.read()
    os.waitpid(child, 0)
    assert output, "the child hung"
    return int(output)


@pytest.mark.parametrize(("items", "grain"), [(64, 3), (1, 1), (2, 64), (1024, 100)])
def test_results_do_not_depend_on_the_number_of_threads(items: int, grain: int) -> None:
    results = set()
    for count in (1, 2, 3, 4, 5):
        set_threads(count)
        results |= {result(500, items, grain) for _ in range(3)}
    assert len(results) == 1


def test_the_number_of_threads_is_checked() -> None:
    assert kernel_library().test_set_threads(0) == -1
    assert b"from 1 to 256, not 0" in kernel_library().test_last_error()


def test_a_child_of_a_fork_starts_its_own_threads() -> None:
    expected = result()
    set_threads(3)
    assert result() == expected
    assert in_fork(result) == expected
    assert in_fork(lambda: in_fork(result)) == expected
    assert result() == expected


def test_a_fork_while_another_thread_computes() -> None:
    expected = result()
    set_threads(2)
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            assert result(20_000) is not None

    other = threading.Thread(target=compute)
    other.start()
    try:
        for _ in range(5):
            assert in_fork(result) == expected
    finally:
        stop.set()
        other.join()
    assert result() == expected


def test_python_threads_compute_one_after_another() -> None:
    expected = result()
    set_threads(3)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.extend(result() for _ in range(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 20


def test_results_beside_busy_processes() -> None:
    expected = result()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        for count in (2, 5):
            set_threads(count)
            assert {result() for _ in range(3)} == {expected}
    finally:
        for process in busy:
            process.kill()
            process.wait()
