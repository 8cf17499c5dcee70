"""An end to waiting."""

from threading import Event

import pytest

from litgpt.adapters.hub.deadline import attended, within


def test_an_answer_in_time_is_returned() -> None:
    assert within(5, lambda: 42) == 42


def test_an_error_in_time_is_raised() -> None:
    def ask() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        within(5, ask)


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
        for _ in range(8):
            moved.set()
            pause.wait(0.1)
        return 42

    assert attended(0.5, moved, work) == 42


def test_work_that_waits_for_something_that_moves_is_waited_for() -> None:
    asked: list[bool] = []
    pause = Event()

    def is_moving() -> bool:
        asked.append(True)
        return True

    assert attended(0.05, Event(), lambda: pause.wait(0.3), is_moving) is False
    assert asked


def test_work_that_fails_fails_where_it_is_waited_for() -> None:
    def work() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        attended(5, Event(), work)


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
        self.twice.wait(5)
        super().clear()


def test_the_end_of_work_is_not_missed_when_it_comes_with_a_sign_of_life() -> None:
    moved = Unlucky()

    def work() -> int:
        moved.set()
        assert moved.clearing.wait(5)
        return 42

    assert attended(0.1, moved, work) == 42
