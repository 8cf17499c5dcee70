"""An end to waiting."""

from threading import Event

import pytest

from litgpt.adapters.hub.deadline import watched, within


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


def test_work_without_a_sign_of_life_is_ended() -> None:
    ended = Event()
    with watched(0.05, Event(), ended.set):
        assert ended.wait(5)


def test_work_that_shows_signs_of_life_is_left_alone() -> None:
    moved, ended, pause = Event(), Event(), Event()
    with watched(0.5, moved, ended.set):
        for _ in range(8):
            moved.set()
            pause.wait(0.1)
    assert not ended.is_set()


def test_work_that_is_over_is_not_ended_later() -> None:
    ended = Event()
    with watched(0.05, Event(), ended.set):
        pass
    assert not ended.wait(0.15)


def test_work_that_fails_is_no_longer_watched() -> None:
    ended = Event()
    with pytest.raises(KeyError), watched(0.05, Event(), ended.set):
        raise KeyError
    assert not ended.wait(0.15)


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
    moved, ended = Unlucky(), Event()
    with watched(0.1, moved, ended.set):
        moved.set()
        assert moved.clearing.wait(5)
    assert not ended.is_set()
