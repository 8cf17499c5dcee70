"""Tests of the model lock: concurrent uses and exclusive changes, with threads and without a model."""

import copy
import gc
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from litgpt.application.concurrency import model_lock
from litgpt.application.concurrency.model_lock import ModelLock, this_thread
from litgpt.application.concurrency.shared_generator import SharedGenerator
from litgpt.domain.errors import NotDistributed
from litgpt.domain.generation.errors import ModelBusy, ModelClosed, WorkerLost
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.ports import Generation, Generator
from litgpt.testing import ScriptedGenerator

TIMEOUT = 120.0  # far longer than any call that ends


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@pytest.fixture
def lock() -> ModelLock:
    return ModelLock()


def shared(lock: ModelLock, script: list[int] | None = None) -> SharedGenerator:
    says = script if script is not None else [1]
    return SharedGenerator(lock, lambda: ScriptedGenerator(list(says)))


def stream(lock: ModelLock, at_most: int = 8) -> Generation:
    return shared(lock).generate([GenerationRequest(prompt=[1], max_new_tokens=at_most)])


def is_waiting(future: Future[Any]) -> bool:
    """Return whether a future is still running after a short wait."""
    time.sleep(0.1)
    return not future.done()


def change(lock: ModelLock, act: Callable[[], object] = lambda: None, **options: bool) -> None:
    with lock.changing("set_adapter()", **options):
        act()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def queued(lock: ModelLock, count: int) -> None:
    until(lambda: len(lock._queue) == count)


def test_uses_run_concurrently_and_changes_exclusively(lock: ModelLock, threads: ThreadPoolExecutor) -> None:
    together, inside, most = threading.Barrier(4), [0], [0]

    def use() -> None:
        with lock.using():
            together.wait(TIMEOUT)

    def alter() -> None:
        with lock.changing("a change"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            inside[0] -= 1

    for actual in [threads.submit(use) for _ in range(4)]:
        actual.result(TIMEOUT)
    for actual in [threads.submit(alter) for _ in range(8)]:
        actual.result(TIMEOUT)
    assert most == [1]
    assert lock.version == 8


def test_a_change_waits_for_an_answer_and_later_answers_wait_for_the_change(
    lock: ModelLock, threads: ThreadPoolExecutor
) -> None:
    script = [1]
    under_way = shared(lock, script).generate([GenerationRequest(prompt=[1], max_new_tokens=4)])
    tokens = [next(under_way).token]
    altered = threads.submit(change, lock, lambda: script.__setitem__(0, 2))
    queued(lock, 1)
    later = threads.submit(
        lambda: [
            value.token
            for value in shared(lock, script).generate([GenerationRequest(prompt=[1], max_new_tokens=3)])
        ]
    )
    queued(lock, 2)
    assert is_waiting(altered)
    assert is_waiting(later)
    tokens += [event.token for event in under_way]
    assert tokens == [1, 1, 1, 1]
    altered.result(TIMEOUT)
    assert later.result(TIMEOUT) == [2, 2, 2]


def test_answers_that_wait_go_before_the_next_change(lock: ModelLock, threads: ThreadPoolExecutor) -> None:
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        inside.set()
        go_on.wait(TIMEOUT)

    def answer() -> None:
        with lock.using():
            order.append("answer")

    future = [threads.submit(change, lock, first)]
    assert inside.wait(TIMEOUT)
    for at, act in enumerate([answer, lambda: change(lock, lambda: order.append("change")), answer], 1):
        future.append(threads.submit(act))
        queued(lock, at)
    go_on.set()
    for value in future:
        value.result(TIMEOUT)
    assert order == ["answer", "change", "answer"]


def test_a_thread_with_a_stream_starts_another_answer_before_a_waiting_change(
    lock: ModelLock, threads: ThreadPoolExecutor
) -> None:
    own_stream = stream(lock)
    next(own_stream)
    altered = threads.submit(change, lock)
    queued(lock, 1)
    assert len(list(stream(lock, 3))) == 3
    own_stream.close()
    altered.result(TIMEOUT)


def test_a_change_during_the_callers_own_stream_is_an_error_with_the_remedy(lock: ModelLock) -> None:
    own_stream = stream(lock)
    next(own_stream)
    with pytest.raises(ModelBusy, match=r"set_adapter\(\).*\.close\(\)"):
        change(lock)
    assert len(list(own_stream)) == 7  # which the refused change has not touched
    change(lock)


def test_a_change_within_a_step_is_an_error(lock: ModelLock) -> None:
    with lock.using(), pytest.raises(ModelBusy, match="during a step"):
        change(lock, ends_answers=True)
    change(lock)


def test_an_unstarted_stream_holds_no_lock_and_starts_with_the_current_model(lock: ModelLock) -> None:
    script = [1]
    later = shared(lock, script).generate([GenerationRequest(prompt=[1], max_new_tokens=3)])
    change(lock, lambda: script.__setitem__(0, 2))
    later.cancel(7)  # no answer of this call
    assert [event.token for event in later] == [2, 2, 2]
    change(lock)


def test_an_unstarted_stream_without_its_model_raises(lock: ModelLock) -> None:
    alive = [True]

    def current() -> Generator:
        if not alive[0]:
            raise NotDistributed
        return ScriptedGenerator([1])

    later = SharedGenerator(lock, current).generate([GenerationRequest(prompt=[1])])
    change(lock, lambda: alive.__setitem__(0, False))
    with pytest.raises(NotDistributed):
        next(later)
    change(lock)


@pytest.mark.parametrize("ending", ["dropped", "in a cycle", "closed", "failed"])
def test_an_abandoned_stream_holds_nothing(lock: ModelLock, ending: str) -> None:
    own_stream: Generation | None = stream(lock)
    assert own_stream is not None
    next(own_stream)
    gc.disable()
    try:
        if ending == "closed":
            own_stream.close()
            own_stream.close()
        elif ending == "in a cycle":
            cycle: list[object] = [own_stream]
            cycle.append(cycle)
            del cycle
        elif ending == "failed":
            own_stream._generation._next_event = lambda: 1 // 0  # type: ignore[attr-defined]
            with pytest.raises(ZeroDivisionError):
                next(own_stream)
        own_stream = None
        change(lock)
    finally:
        gc.enable()


def test_a_stream_is_read_to_its_end_in_another_thread(lock: ModelLock, threads: ThreadPoolExecutor) -> None:
    handed_over = stream(lock)
    next(handed_over)
    go_on = threading.Event()

    def read() -> int:
        count = len([next(handed_over)])
        go_on.wait(TIMEOUT)
        return count + sum(1 for _ in handed_over)

    def lets_go_on() -> None:
        queued(lock, 1)
        go_on.set()

    future = threads.submit(read)
    until(lambda: not lock._is_used_by(this_thread()))
    threads.submit(lets_go_on)
    change(lock)  # is not refused: the other thread reads on
    assert future.result(TIMEOUT) == 7


def test_a_stream_that_a_pool_reads_in_turns_is_waited_for_in_each_of_its_threads(
    lock: ModelLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_lock, "_POOL_THREAD_SECONDS", TIMEOUT)
    lock.timeout = TIMEOUT
    read_by_pool = stream(lock)
    with ThreadPoolExecutor(1) as one_thread:
        one_thread.submit(lambda: next(read_by_pool)).result(TIMEOUT)
        altered = one_thread.submit(change, lock)
        queued(lock, 1)
        assert len(list(read_by_pool)) == 7
        altered.result(TIMEOUT)
        open_stream = stream(lock)
        one_thread.submit(lambda: next(open_stream)).result(TIMEOUT)
        monkeypatch.setattr(model_lock, "_POOL_THREAD_SECONDS", 0.1)
        with pytest.raises(ModelBusy, match="this thread"):
            one_thread.submit(change, lock).result(TIMEOUT)


def test_unread_streams_are_waited_for_until_the_timeout(threads: ThreadPoolExecutor) -> None:
    lock = ModelLock(timeout=0.2)
    open_stream = stream(lock)
    threads.submit(lambda: next(open_stream)).result(TIMEOUT)
    with pytest.raises(ModelBusy, match=r"have not been read for 0\.2 seconds.*close\(\)"):
        change(lock)
    assert len(list(open_stream)) == 7
    change(lock)


def test_closing_ends_the_threads_own_streams_and_later_reads_raise(lock: ModelLock) -> None:
    own_stream = stream(lock)
    next(own_stream)
    change(lock, ends_answers=True)
    with pytest.raises(ModelClosed, match="was closed"):
        next(own_stream)
    change(lock, ends_answers=True)


def test_closing_waits_for_streams_of_others_that_are_read(
    lock: ModelLock, threads: ThreadPoolExecutor
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def read() -> int:
        foreign = stream(lock)
        next(foreign)
        started.set()
        go_on.wait(TIMEOUT)
        return len(list(foreign))

    future = threads.submit(read)
    assert started.wait(TIMEOUT)
    closed = threads.submit(change, lock, ends_answers=True)
    assert is_waiting(closed)
    go_on.set()
    assert future.result(TIMEOUT) == 7
    closed.result(TIMEOUT)


def test_a_lost_model_can_be_distributed_again_despite_open_streams(lock: ModelLock) -> None:
    open_stream, failing = stream(lock), stream(lock)
    next(open_stream)

    def lost() -> None:
        raise WorkerLost(1, "it was ended by signal 9")

    failing._generation._next_event = lost  # type: ignore[attr-defined] # as that of a rank that is gone
    with pytest.raises(WorkerLost):
        next(failing)
    change(lock)
    second = stream(lock)
    next(second)
    with pytest.raises(WorkerLost), lock.using():
        lost()
    change(lock)


def test_a_change_may_use_the_model_and_change_it_further(lock: ModelLock) -> None:
    with lock.changing("a change"), lock.using(), lock.changing("another"):
        assert len(list(stream(lock, 2))) == 2
    assert lock.version == 1


def test_a_failed_change_releases_the_lock(lock: ModelLock, threads: ThreadPoolExecutor) -> None:
    with pytest.raises(ZeroDivisionError):
        change(lock, lambda: 1 / 0)
    threads.submit(change, lock).result(TIMEOUT)


def test_a_copied_lock_has_separate_users(lock: ModelLock) -> None:
    lock.timeout = 7.0
    with lock.using():
        for copied in (copy.deepcopy(lock), pickle.loads(pickle.dumps(lock))):  # noqa: S301 - our own
            change(copied)
            assert copied.timeout == 7.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_process_does_not_wait_for_its_parents_threads(
    lock: ModelLock, threads: ThreadPoolExecutor
) -> None:
    foreign = stream(lock)
    threads.submit(lambda: next(foreign)).result(TIMEOUT)
    child = os.fork()
    if not child:
        try:
            change(lock)
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_eight_threads_never_see_a_partly_changed_model(lock: ModelLock, threads: ThreadPoolExecutor) -> None:
    script, counts = [0], [0] * 8

    def goes_on() -> bool:
        return min(counts) < 4 and max(counts) < 10_000  # which ends too if another thread has failed

    def answers(number: int) -> None:
        while goes_on():
            actual = [
                event.token
                for event in shared(lock, script).generate([GenerationRequest(prompt=[1], max_new_tokens=20)])
            ]
            assert len(actual) == 20
            assert len(set(actual)) == 1
            counts[number] += 1

    def alters(number: int) -> None:
        while goes_on():
            with lock.changing("a change"):
                script[0] = number + 8 * counts[number]
            counts[number] += 1

    for i in [threads.submit(alters if number < 2 else answers, number) for number in range(8)]:
        i.result(TIMEOUT)
    assert min(counts) >= 4
