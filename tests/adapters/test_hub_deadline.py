"""An end to waiting."""

from threading import Event

import pytest

from litgpt.adapters.hub.deadline import attended, within

LONG = 120.0


def test_an_answer_in_time_is_returned() -> None:
    assert within(LONG, lambda: 42) == 42


def test_an_error_in_time_is_raised() -> None:
    def ask() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        within(LONG, ask)


def test_an_answer_that_never_comes_is_not_waited_for() -> None:
    never = Event()
    with pytest.raises(TimeoutError):
        within(0.05, never.wait)
    never.set()


def test_work_without_a_sign_of_life_is_left_alone() -> None:
    never = Event()
    with pytest.raises(TimeoutError):
        attended(0.05, Event(), never.wait)
    never.set()


def test_work_that_shows_signs_of_life_is_waited_for() -> None:
    moved, pause = Event(), Event()

    def work() -> int:
        for _ in range(6):
            moved.set()
            pause.wait(0.3)
        return 42

    # Less than all pauses, and so much more than one that a busy machine makes no difference.
    assert attended(1.5, moved, work) == 42


def test_work_that_waits_for_something_that_moves_is_waited_for() -> None:
    asked: list[bool] = []
    enough = Event()

    def is_moving() -> bool:
        asked.append(True)
        if len(asked) == 3:
            enough.set()
        return True

    assert attended(0.01, Event(), lambda: enough.wait(LONG), is_moving) is True
    assert len(asked) >= 3


def test_work_that_fails_fails_where_it_is_waited_for() -> None:
    def work() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        attended(LONG, Event(), work)


class Unlucky(Event):
    """Is cleared just after it is set for the second time, as threads may have it."""

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


def test_the_end_of_work_is_not_missed_when_it_comes_with_a_sign_of_life() -> None:
    moved = Unlucky()

    def work() -> int:
        moved.set()
        assert moved.clearing.wait(LONG)
        return 42

    assert attended(LONG, moved, work) == 42
