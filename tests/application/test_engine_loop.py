"""The thread that runs an engine for a server."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import pytest

from litgpt.application.serving.engine_loop import EngineLoop
from litgpt.application.serving.errors import EngineStopped, QueueFull, ServerStopping
from litgpt.application.serving.stats import FinishRate
from litgpt.application.serving.ticket import Ticket
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.events import EngineEvent, FailedRequest
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.testing.generators import ScriptedGenerator, ScriptedLogits, ScriptedRunner

TIMEOUT = 120.0


@attrs.define(eq=False)
class GatedRunner(ScriptedRunner):
    """Computes a step each time `gate` is released, and raises `error` in its place if there is one."""

    gate: threading.Semaphore = attrs.field(factory=threading.Semaphore)
    entered: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))
    error: Exception | None = None

    def step(self, batch: Any, positions: Any = None, adapters: Any = None) -> list[ScriptedLogits]:
        self.entered.release()
        assert self.gate.acquire(timeout=TIMEOUT)
        error, self.error = self.error, None
        if error is not None:
            raise error
        return super().step(batch, positions, adapters)


class Client:
    """Collects the events of its requests."""

    def __init__(self) -> None:
        self.events: dict[int, list[EngineEvent]] = defaultdict(list)
        self._ended = threading.Condition()

    def put(self, ticket: Ticket, event: EngineEvent) -> None:
        with self._ended:
            self.events[ticket.number].append(event)
            self._ended.notify_all()

    def wait(self, number: int = 0) -> list[EngineEvent]:
        """Return the events of a request when it has ended."""

        def has_ended() -> bool:
            events = self.events[number]
            return bool(events) and (
                isinstance(events[-1], FailedRequest) or events[-1].finish_reason is not None
            )

        with self._ended:
            assert self._ended.wait_for(has_ended, TIMEOUT)
            return self.events[number]

    def tokens(self, number: int = 0) -> list[int]:
        return [event.token for event in self.wait(number) if isinstance(event, TokenEvent)]


def deliver(events: Sequence[tuple[Ticket, EngineEvent]]) -> None:
    for ticket, event in events:
        ticket.owner.put(ticket, event)


def requests(*lengths: int) -> list[tuple[int, GenerationRequest]]:
    return [
        (number, GenerationRequest(prompt=[number + 1], max_new_tokens=length))
        for number, length in enumerate(lengths)
    ]


@contextmanager
def running(runner: ScriptedRunner | None = None, *, max_queued: int = 256) -> Iterator[EngineLoop]:
    used = runner or ScriptedRunner(ScriptedGenerator([5, 6, 7]))
    loop = EngineLoop(lambda: Engine(used, 1024), deliver, max_queued=max_queued)
    try:
        yield loop
    finally:
        if isinstance(used, GatedRunner):
            used.gate.release(1000)
        loop.stop()


def test_requests_of_several_clients_are_answered() -> None:
    with running() as loop:
        clients = [Client() for _ in range(3)]
        for client in clients:
            loop.submit(requests(2, 4), client)
        for client in clients:
            assert client.tokens(0) == [5, 6]
            assert client.tokens(1) == [5, 6, 7, 5]
    stats = loop.stats()
    assert (stats.completion_tokens, stats.prompt_tokens, stats.running, stats.waiting) == (18, 6, 0, 0)


def test_a_request_joins_the_running_ones_and_has_times() -> None:
    runner = GatedRunner(ScriptedGenerator([5]), gate=threading.Semaphore(0))
    with running(runner) as loop:
        first, second = Client(), Client()
        loop.submit(requests(50), first)
        assert runner.entered.acquire(timeout=TIMEOUT)
        ticket = loop.submit(requests(1), second)[0]
        assert not ticket.started
        runner.gate.release(3)
        second.wait()
        assert len(first.events[0]) < 50
        assert ticket.queued <= (ticket.started or 0) <= (ticket.first_token or 0) <= (ticket.finished or 0)


def test_a_cancelled_request_frees_its_pages_and_gets_no_more_events() -> None:
    runner = GatedRunner(ScriptedGenerator([5]), gate=threading.Semaphore(2), max_cached_pages=0)
    with running(runner) as loop:
        client, other = Client(), Client()
        tickets = loop.submit(requests(500), client)
        for _ in range(3):
            assert runner.entered.acquire(timeout=TIMEOUT)
        loop.cancel(tickets)
        loop.submit(requests(2), other)
        seen = len(client.events[0])
        runner.gate.release(10)
        other.wait()
        assert len(client.events[0]) <= seen + 1  # that of the step in which it was cancelled
        assert tickets[0].finished is not None
        assert loop.drain(TIMEOUT)
        assert loop.stats().pages_used == 0


def test_the_queue_is_bounded() -> None:
    generator = ScriptedGenerator([5])
    runner = GatedRunner(generator, StepLimits(max_sequences=1, max_draft_tokens=0))
    runner.gate = threading.Semaphore(0)
    with running(runner, max_queued=2) as loop:
        clients = [Client() for _ in range(4)]
        loop.submit(requests(3), clients[0])
        assert runner.entered.acquire(timeout=TIMEOUT)
        loop.submit(requests(1), clients[1])
        with pytest.raises(QueueFull, match="Try again in 1 seconds"):
            loop.submit(requests(1, 1), clients[2])
        loop.submit(requests(1), clients[2])
        with pytest.raises(QueueFull):
            loop.submit(requests(1), clients[3])
        runner.gate.release(100)
        assert [len(client.tokens()) for client in clients[:3]] == [3, 1, 1]
        loop.submit(requests(1), clients[3])
        assert clients[3].tokens() == [5]


def test_an_error_of_a_step_ends_its_requests_and_no_others() -> None:
    runner = GatedRunner(ScriptedGenerator([5]), gate=threading.Semaphore(0))
    with running(runner) as loop:
        client, other = Client(), Client()
        loop.submit(requests(50, 60), client)
        assert runner.entered.acquire(timeout=TIMEOUT)
        runner.error = RuntimeError("no memory")
        loop.submit(requests(2), other)
        runner.gate.release(100)
        for number in range(2):
            failed = client.wait(number)[-1]
            assert isinstance(failed, FailedRequest)
            assert str(failed.error) == "no memory"
        assert other.tokens() == [5, 5]
        assert loop.is_alive
        assert loop.stats().failed_steps == 1


def test_an_engine_that_cannot_be_opened_fails_the_requests_and_is_tried_again() -> None:
    errors: list[Exception] = [MemoryError("no pages")]

    def open_engine() -> Engine:
        if errors:
            raise errors.pop()
        return Engine(ScriptedRunner(ScriptedGenerator([5])), 1024)

    loop = EngineLoop(open_engine, deliver)
    client, later = Client(), Client()
    loop.submit(requests(1, 2), client)
    for number in range(2):
        failed = client.wait(number)[-1]
        assert isinstance(failed, FailedRequest)
        assert str(failed.error) == "no pages"
    assert loop.is_alive
    loop.submit(requests(2), later)
    assert later.tokens() == [5, 5]
    assert loop.drain(TIMEOUT)
    assert loop.stats().waiting == 0
    loop.stop()


def test_an_engine_that_cannot_cancel_a_request_is_opened_again() -> None:
    class FailingCancel(Engine):
        def cancel(self, index: int, *, keeps_prefix: bool = True) -> None:  # noqa: ARG002
            raise MemoryError(f"of request {index}")

    runner = GatedRunner(ScriptedGenerator([5]), gate=threading.Semaphore(0))
    engines = [Engine(ScriptedRunner(ScriptedGenerator([5])), 1024), FailingCancel(runner, 1024)]
    loop = EngineLoop(engines.pop, deliver)
    cancelled, other, later = Client(), Client(), Client()
    tickets = loop.submit(requests(50), cancelled)
    loop.submit(requests(60), other)
    assert runner.entered.acquire(timeout=TIMEOUT)
    loop.cancel(tickets)
    runner.gate.release(100)
    failed = other.wait()[-1]
    assert isinstance(failed, FailedRequest)
    assert isinstance(failed.error, MemoryError)
    loop.submit(requests(2), later)
    assert later.tokens() == [5, 5]
    assert loop.is_alive
    loop.stop()


def test_a_refused_request_gets_its_own_error_if_the_step_after_it_fails() -> None:
    class Refusing(Engine):
        def add(self, request: GenerationRequest) -> int:
            if request.max_new_tokens == 7:
                raise ValueError("refused")
            return super().add(request)

    runner = GatedRunner(ScriptedGenerator([5]), error=RuntimeError("no memory"))
    loop = EngineLoop(lambda: Refusing(runner, 1024), deliver)
    client = Client()
    loop.submit(requests(50, 7), client)
    errors = [client.wait(number)[-1] for number in range(2)]
    assert [str(it.error) for it in errors if isinstance(it, FailedRequest)] == ["no memory", "refused"]
    runner.gate.release(100)
    loop.stop()


def test_the_end_of_the_interpreter_ends_the_loop_and_fails_all_requests() -> None:
    def ending() -> Engine:
        raise SystemExit

    loop = EngineLoop(ending, deliver)
    client = Client()
    loop.submit(requests(1), client)
    failed = client.wait()[-1]
    assert isinstance(failed, FailedRequest)
    assert isinstance(failed.error, EngineStopped)
    with pytest.raises(EngineStopped, match="Restart the server"):
        loop.submit(requests(1), client)
    assert not loop.stats().is_alive
    loop.stop()


def test_draining_finishes_what_runs_and_accepts_nothing() -> None:
    with running() as loop:
        client = Client()
        loop.submit(requests(200), client)
        assert loop.drain(TIMEOUT)
        assert len(client.tokens()) == 200
        with pytest.raises(ServerStopping):
            loop.submit(requests(1), client)


def test_stopping_ends_what_runs() -> None:
    runner = GatedRunner(ScriptedGenerator([5]), gate=threading.Semaphore(0))
    with running(runner) as loop:
        client = Client()
        loop.submit(requests(1000), client)
        assert runner.entered.acquire(timeout=TIMEOUT)
        stopping = threading.Thread(target=loop.stop)
        stopping.start()
        runner.gate.release()
        stopping.join(TIMEOUT)
        failed = client.wait()[-1]
        assert isinstance(failed, FailedRequest)
        assert isinstance(failed.error, ServerStopping)


def test_an_engine_is_opened_again_when_the_weights_have_changed() -> None:
    opened: list[Engine] = []
    version = [0]

    def open_engine() -> Engine:
        opened.append(Engine(ScriptedRunner(ScriptedGenerator([len(opened)])), 1024))
        return opened[-1]

    loop = EngineLoop(open_engine, deliver, version=lambda: version[0])
    clients = [Client() for _ in range(3)]
    loop.submit(requests(1), clients[0])
    clients[0].wait()
    loop.submit(requests(1), clients[1])
    clients[1].wait()
    version[0] = 1
    loop.submit(requests(1), clients[2])
    assert [client.tokens() for client in clients] == [[0], [0], [1]]
    loop.stop()


def test_the_time_to_retry_follows_the_rate_of_finished_requests() -> None:
    rate = FinishRate()
    assert rate.seconds_for(8) == 1.0
    for second in range(5):
        rate.add(2.0 * second)
    assert rate.seconds_for(3) == 6.0
    assert rate.seconds_for(1000) == 600.0
