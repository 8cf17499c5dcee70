"""Tests of the engine that several threads use."""

import gc
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from litgpt.application.concurrency.shared_engine import EngineStream, SharedEngine
from litgpt.domain.generation.errors import ModelBusy
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.scheduler import StepLimits
from tests.domain.scripted_runner import ScriptedRunner, ScriptedSequence, expected_answer

CONTEXT = 200
TIMEOUT = 60


class SlowRunner(ScriptedRunner):
    """Steps take a millisecond, and may not overlap."""

    lock = threading.Lock()

    def step(
        self,
        batch: Sequence[tuple[ScriptedSequence, Sequence[int]]],
        positions: Sequence[range] | None = None,
        adapters: Sequence[str | None] | None = None,
    ) -> list[int]:
        assert self.lock.acquire(blocking=False), "two steps at the same time"
        try:
            time.sleep(0.001)
            return super().step(batch, positions, adapters)
        finally:
            self.lock.release()


def request(seed: int, count: int = 12) -> GenerationRequest:
    random = Random(seed)  # noqa: S311 - not cryptography
    return GenerationRequest(prompt=random.choices(range(7), k=random.randint(1, 60)), max_new_tokens=count)


def stream(engine: SharedEngine, *requests: GenerationRequest) -> EngineStream:
    return EngineStream(engine, requests)


def answer(engine: SharedEngine, it: GenerationRequest) -> list[int]:
    return [event.token for event in stream(engine, it)]


def test_threads_share_a_batch_and_get_their_individual_answers() -> None:
    runner = SlowRunner(limits=StepLimits(max_sequences=16))
    engine = SharedEngine(Engine(runner, CONTEXT))
    requests = [request(seed) for seed in range(48)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda it: answer(engine, it), requests, timeout=TIMEOUT))
    assert answers == [expected_answer(it, CONTEXT) for it in requests]
    assert max(map(len, runner.steps)) > 8
    engine.close()
    assert runner.num_open == 0


def test_streams_that_are_closed_dropped_or_cancelled_free_their_memory_and_hold_up_no_other() -> None:
    runner = SlowRunner(max_cached_pages=0)
    engine = SharedEngine(Engine(runner, CONTEXT))

    def use(seed: int) -> None:
        random, it = Random(seed), request(seed)  # noqa: S311 - not cryptography
        events = stream(engine, it, it)
        for number, event in enumerate(events):
            if number == 0:
                events.cancel(1 - event.index)
            assert event.index >= 0
            if random.random() < 0.2:
                if seed % 2:
                    events.close()
                return

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(200), timeout=TIMEOUT))
    gc.collect()
    it = request(1)
    assert answer(engine, it) == expected_answer(it, CONTEXT)
    assert runner.num_open == 0


def test_a_stream_that_is_closed_during_the_step_of_another_thread_has_no_more_events() -> None:
    class StoppedRunner(ScriptedRunner):
        in_step, may_go_on = threading.Event(), threading.Event()

        def step(self, *arguments: Any) -> list[int]:
            if len(self.steps) > 0:  # the first answers of both streams have begun
                self.in_step.set()
                assert self.may_go_on.wait(TIMEOUT)
            return super().step(*arguments)

    engine = SharedEngine(Engine(StoppedRunner(), CONTEXT))
    closed, it = stream(engine, request(1), request(2)), GenerationRequest(prompt=[1], max_new_tokens=9)
    next(closed)
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(answer, engine, it)
        assert StoppedRunner.in_step.wait(TIMEOUT)
        closed.close()
        StoppedRunner.may_go_on.set()
        assert list(closed) == []
        assert other.result(TIMEOUT) == expected_answer(it, CONTEXT)


def test_a_stream_that_is_not_read_holds_up_no_other() -> None:
    engine = SharedEngine(Engine(ScriptedRunner(), CONTEXT))
    unread, it = stream(engine, request(1, 50)), request(2, 100)
    first = next(unread)
    assert answer(engine, it) == expected_answer(it, CONTEXT)
    assert [first.token, *(event.token for event in unread)] == expected_answer(request(1, 50), CONTEXT)


def test_requests_are_taken_as_earlier_ones_finish() -> None:
    taken = 0

    def requests() -> Iterator[GenerationRequest]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield request(number, 2)

    engine = SharedEngine(Engine(ScriptedRunner(), CONTEXT))
    events = EngineStream(engine, requests())
    for _ in range(100):
        next(events)
    assert taken < 300
    events.close()


def test_an_error_of_an_iterator_is_raised_after_the_answers_to_earlier_requests() -> None:
    requests = [request(seed) for seed in range(3)]

    def broken() -> Iterator[GenerationRequest]:
        yield from requests
        raise ValueError("broken")

    tokens: dict[int, list[int]] = {0: [], 1: [], 2: []}
    runner = SlowRunner(max_cached_pages=0)
    events = EngineStream(SharedEngine(Engine(runner, CONTEXT)), broken())

    def read() -> None:
        for event in events:
            tokens[event.index].append(event.token)

    with pytest.raises(ValueError, match="broken"):
        read()
    assert list(tokens.values()) == [expected_answer(it, CONTEXT) for it in requests]
    assert (list(events), runner.num_open) == ([], 0)


def test_an_interrupt_ends_the_stream_of_its_thread_only() -> None:
    runner = ScriptedRunner()
    engine = SharedEngine(Engine(runner, CONTEXT))
    interrupted, other = stream(engine, request(1)), stream(engine, request(2))
    first = next(other)
    runner.is_interrupted = True
    with pytest.raises(KeyboardInterrupt):
        list(interrupted)
    interrupted.close()
    assert [first.token, *(event.token for event in other)] == expected_answer(request(2), CONTEXT)


def test_a_request_of_a_thread_that_was_interrupted_while_it_waited_is_cancelled() -> None:
    runner = ScriptedRunner()
    engine = SharedEngine(Engine(runner, CONTEXT))
    waiting = stream(engine, request(1, 100))
    waiting._add_requests()  # in the inbox; the interrupt comes before the next step
    waiting.close()
    assert answer(engine, request(2)) == expected_answer(request(2), CONTEXT)
    assert not engine._engine.has_unfinished
    assert sum(map(len, runner.steps)) == len(runner.steps)


def test_generating_within_a_step_is_an_error() -> None:
    class Nested(ScriptedRunner):
        def step(self, *arguments: Any) -> list[int]:
            answer(engine, request(2))
            return super().step(*arguments)

    engine = SharedEngine(Engine(Nested(), CONTEXT))
    with pytest.raises(ModelBusy, match="between answers"):
        answer(engine, request(1))


def test_events_of_other_threads_survive_an_interrupt_of_their_delivery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = SharedEngine(Engine(ScriptedRunner(), CONTEXT))
    first, other = stream(engine, request(1, 3)), stream(engine, request(2, 3))
    other._add_requests()
    first._add_requests()
    with monkeypatch.context() as patch:
        patch.setattr(SharedEngine, "_deliver", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.wait(first._mailbox)
    first.close()
    assert [event.token for event in other] == expected_answer(request(2, 3), CONTEXT)


def test_an_error_of_a_step_is_raised_by_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SharedEngine(Engine(SlowRunner(), CONTEXT))
    monkeypatch.setattr(SlowRunner, "step", lambda *_: 1 / 0)
    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(answer, engine, request(seed)) for seed in range(4)]:
            with pytest.raises(ZeroDivisionError):
                future.result(TIMEOUT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_does_not_wait_for_a_step_of_its_parent() -> None:
    engine = SharedEngine(Engine(ScriptedRunner(), CONTEXT))
    it = request(3)
    engine._is_busy = True  # as if another thread were computing a step
    child = os.fork()
    if child == 0:
        os._exit(answer(engine, it) != expected_answer(it, CONTEXT))
    assert os.waitpid(child, 0)[1] == 0


def test_a_long_stream_forgets_the_requests_that_were_cancelled() -> None:
    engine = SharedEngine(Engine(ScriptedRunner(max_cached_pages=0), CONTEXT))
    events = EngineStream(engine, (request(seed, 5) for seed in range(1000)))
    seen: set[int] = set()
    for event in events:
        assert event.index not in seen
        seen.add(event.index)
        events.cancel(event.index)
        assert len(events._cancelled) < 100
    assert seen == {*range(1000)}
