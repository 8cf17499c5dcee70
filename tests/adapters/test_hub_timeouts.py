"""Tests of blocking calls under an overall timeout."""

from threading import Event

import pytest

from litgpt.adapters.hub.timeouts import call_with_timeout

LONG = 120.0


def test_a_result_before_the_timeout_is_returned() -> None:
    assert call_with_timeout(LONG, lambda: 42) == 42


def test_an_error_before_the_timeout_is_raised() -> None:
    def ask() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        call_with_timeout(LONG, ask)


def test_a_call_beyond_its_timeout_is_abandoned() -> None:
    never = Event()
    with pytest.raises(TimeoutError):
        call_with_timeout(0.05, never.wait)
    never.set()


def test_stalled_work_is_abandoned() -> None:
    never = Event()
    with pytest.raises(TimeoutError):
        call_with_timeout(0.05, never.wait, Event())
    never.set()


def test_work_with_progress_is_waited_for() -> None:
    moved, pause = Event(), Event()

    def work() -> int:
        for _ in range(6):
            moved.set()
            pause.wait(0.3)
        return 42

    # Shorter than all pauses together, and much longer than one, even on a busy machine.
    assert call_with_timeout(1.5, work, moved) == 42


def test_work_waiting_for_active_work_is_waited_for() -> None:
    calls: list[bool] = []
    enough = Event()

    def is_moving() -> bool:
        calls.append(True)
        if len(calls) == 3:
            enough.set()
        return True

    assert call_with_timeout(0.01, lambda: enough.wait(LONG), Event(), is_moving) is True
    assert len(calls) >= 3


class RacingEvent(Event):
    """An event that is cleared just after its second `set`, as a race between threads could do."""

    def __init__(self) -> None:
        super().__init__()
        self.times, self.clearing, self.twice = 0, Event(), Event()

    def set(self) -> None:
        super().set()
        self.times += 1
        if self.times == 2:
            self.twice.set()

    def clear(self) -> None:
        self.clearing.set()
        self.twice.wait(LONG)
        super().clear()


def test_completion_together_with_progress_is_noticed() -> None:
    moved = RacingEvent()

    def work() -> int:
        moved.set()
        assert moved.clearing.wait(LONG)
        return 42

    assert call_with_timeout(LONG, work, moved) == 42
