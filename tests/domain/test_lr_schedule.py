"""Tests of the learning rate: linear warmup, cosine decay, and a floor."""

import pytest

from litgpt.domain.training.lr_schedule import WarmupCosine


def test_the_warmup_is_linear_and_the_first_step_has_a_nonzero_rate() -> None:
    share = WarmupCosine(total_steps=100, warmup_steps=4)
    assert [share(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_it_falls_along_half_a_cosine_to_its_floor() -> None:
    share = WarmupCosine(total_steps=110, warmup_steps=10, min_lr_ratio=0.1)
    assert share(10) == 1.0
    assert share(35) == pytest.approx(0.1 + 0.9 * (1 + 0.5**0.5) / 2)
    assert share(60) == pytest.approx(0.55)
    assert share(110) == pytest.approx(0.1)


def test_it_never_rises_again_and_stays_at_its_floor_behind_the_end() -> None:
    share = WarmupCosine(total_steps=50, warmup_steps=5, min_lr_ratio=0.25)
    falling = [share(step) for step in range(5, 60)]
    assert falling == sorted(falling, reverse=True)
    assert share(10_000) == pytest.approx(0.25)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_run_may_be_as_short_as_its_warm_up(steps: int) -> None:
    share = WarmupCosine(total_steps=steps, warmup_steps=steps)
    assert all(0 < share(step) <= 1 for step in range(steps))
