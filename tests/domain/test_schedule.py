"""The learning rate rises to its top, and falls to its floor."""

import pytest

from litgpt.domain.training.schedule import Schedule


def test_the_rate_rises_to_its_top_and_falls_to_its_floor() -> None:
    shares = [Schedule(steps=100, warmup=10, floor=0.1)(step) for step in range(101)]
    assert shares[:11] == sorted(shares[:11])
    assert shares[10] == max(shares) == 1
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[100] == min(shares[10:]) == pytest.approx(0.1)


@pytest.mark.parametrize("warmup", [1, 3, 50])
def test_the_first_step_learns_something(warmup: int) -> None:
    assert 0 < Schedule(steps=50, warmup=warmup)(0) < 1


def test_without_a_rise_the_first_step_is_at_the_top() -> None:
    assert Schedule(steps=50)(0) == 1


def test_halfway_down_half_is_left() -> None:
    assert Schedule(steps=30, warmup=10)(20) == pytest.approx(0.5)


def test_after_the_end_the_rate_stays_at_its_floor() -> None:
    assert Schedule(steps=10, warmup=2, floor=0.2)(15) == pytest.approx(0.2)
    assert Schedule(steps=2, warmup=2)(2) == 1  # a run that is over before anything falls
