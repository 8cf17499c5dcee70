"""Prompts wait for a few steps, and never for the end of the running answers."""

import random

import pytest

from litgpt.domain.scheduling.prefill_pacing import PrefillPacing
from litgpt.domain.scheduling.step_costs import StepCosts


def measured(seconds: float) -> PrefillPacing:
    """Return the pacing after 20 steps of one answer, of so many seconds."""
    pacing = PrefillPacing(StepCosts())
    for _ in range(20):
        pacing.allows_prompts(1, 0)
        pacing.costs.add(1, seconds)
    return pacing


@pytest.mark.parametrize("seed", range(20))
def test_no_prompt_starves_whatever_the_measured_times_are(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - not cryptography
    pacing, num_held = measured(rng.choice((1e-6, 1e-3, 1.0))), 0
    scale = rng.choice((1e-6, 1.0, 1e6))
    for _ in range(500):
        allows = pacing.allows_prompts(rng.randint(1, 64), rng.randint(1, 5))
        num_held = 0 if allows else num_held + 1
        assert num_held <= 8
        pacing.costs.add(rng.randint(1, 100), rng.expovariate(1) * scale)


def test_prompts_run_beside_answers_that_have_become_slower() -> None:
    pacing = measured(0.01)
    shared = 0
    for _ in range(200):  # ten times the usual, with or without the prompt
        allows = pacing.allows_prompts(1, 1)
        shared += allows
        pacing.costs.add(13 if allows else 1, 0.12 if allows else 0.1)
    assert shared > 150


def test_expensive_prompts_leave_the_answers_almost_half_of_the_time() -> None:
    pacing = measured(0.01)
    steps = total = 0.0
    for _ in range(300):
        seconds = 0.06 if pacing.allows_prompts(1, 1) else 0.01
        pacing.costs.add(1, seconds)
        steps, total = steps + 1, total + seconds
    assert 0.02 < total / steps < 0.0225  # 2.2 times the usual
