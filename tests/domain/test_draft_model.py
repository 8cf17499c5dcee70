"""Tests of drafts from a draft model: when tokens are proposed, and what the draft model computes."""

from math import log

import pytest

from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scheduling.drafts.draft_model import DraftModel
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.step_costs import StepCosts
from tests.domain.scripted_runner import (
    VOCABULARY,
    ScriptedRunner,
    expected_answer,
    next_token_of_draft,
)

CONTEXT = 4000


NUM_TOKENS = 400


def run(
    accuracy: float,
    draft_seconds: float,
    *,
    num_answers: int = 1,
    num_tokens: int = NUM_TOKENS,
    prompt: int = 8,
    context: int = CONTEXT,
    seconds_per_token: float = 0.0,
) -> tuple[ScriptedRunner, ScriptedRunner, int]:
    """Run requests, check their answers, and return both runners and the number of accepted tokens."""
    runner = ScriptedRunner(seconds_per_token=seconds_per_token)
    drafting = ScriptedRunner(
        next_token=next_token_of_draft(accuracy), seconds=draft_seconds, logprob=log(max(accuracy, 0.01))
    )
    engine = Engine(runner, CONTEXT, DraftModel(drafting, runner.costs, context, VOCABULARY))
    asked = [
        GenerationRequest(
            prompt=[at, *[5] * (prompt - 1)], max_new_tokens=num_tokens, prompt_lookup_num_tokens=0
        )
        for at in range(num_answers)
    ]
    for it in asked:
        engine.add(it)
    answers: dict[int, list[int]] = {at: [] for at in range(num_answers)}
    accepted = {}
    while engine.has_unfinished:
        for event in engine.step():
            answers[event.index].append(event.token)  # type: ignore[union-attr]
            accepted[event.index] = event.draft_tokens  # type: ignore[union-attr]
    assert answers == {at: expected_answer(it, CONTEXT) for at, it in enumerate(asked)}
    engine.close()
    assert drafting.num_open == 0
    return runner, drafting, sum(accepted.values())


@pytest.mark.parametrize(
    ("accuracy", "draft_seconds", "speed"), [(1, 0.1, 3.5), (0.8, 0.1, 1.7), (0.8, 0.3, 1.2)]
)
def test_drafts_save_time(accuracy: float, draft_seconds: float, speed: float) -> None:
    runner, drafting, accepted = run(accuracy, draft_seconds)
    assert NUM_TOKENS / (runner.costs.total + drafting.costs.total) > speed
    assert accepted > NUM_TOKENS - len(runner.steps) - 10


@pytest.mark.parametrize("num_answers", [2, 4])
def test_several_answers_are_drafted_in_one_step(num_answers: int) -> None:
    runner, drafting, _ = run(0.9, 0.1, num_answers=num_answers)
    assert num_answers * NUM_TOKENS / (runner.costs.total + drafting.costs.total) > 1.5
    assert max(map(len, drafting.steps)) == num_answers


@pytest.mark.parametrize(
    ("accuracy", "draft_seconds"), [(0, 0.1), (0, 1), (0.3, 0.5), (0.5, 1), (1, 1), (0.9, 3)]
)
@pytest.mark.parametrize("num_answers", [1, 3])
@pytest.mark.parametrize("prompt", [2, 64])
def test_a_draft_model_that_does_not_pay_costs_little(
    accuracy: float, draft_seconds: float, num_answers: int, prompt: int
) -> None:
    runner, drafting, _ = run(
        accuracy, draft_seconds, num_answers=num_answers, prompt=prompt, seconds_per_token=0.05
    )
    plain = ScriptedRunner(seconds_per_token=0.05)
    engine = Engine(plain, CONTEXT)
    for at in range(num_answers):
        engine.add(
            GenerationRequest(
                prompt=[at, *[5] * (prompt - 1)], max_new_tokens=NUM_TOKENS, prompt_lookup_num_tokens=0
            )
        )
    while engine.has_unfinished:
        engine.step()
    assert plain.costs.total / (runner.costs.total + drafting.costs.total) > 0.97


def test_the_draft_model_computes_a_conversation_once() -> None:
    runner = ScriptedRunner()
    drafting = ScriptedRunner(next_token=next_token_of_draft(1), seconds=0.1, logprob=0.0)
    engine = Engine(runner, CONTEXT, DraftModel(drafting, runner.costs, CONTEXT, VOCABULARY))
    history = [1, 2, 3] * 10
    for _ in range(4):
        it = GenerationRequest(prompt=[*history, 4, 5], max_new_tokens=100)
        engine.add(it)
        while engine.has_unfinished:
            engine.step()
        history = [*it.prompt, *expected_answer(it, CONTEXT)]
    assert sum(map(sum, drafting.steps)) < 1.05 * len(history)
    assert drafting.num_open == 1
    private = GenerationRequest(prompt=[*history, 4], max_new_tokens=50, cache_prompt=False)
    drafting.steps.clear()
    engine.add(private)
    while engine.has_unfinished:
        engine.step()
    assert sum(map(sum, drafting.steps)) > len(history)
    assert drafting.num_open == 1
    engine.close()
    assert drafting.num_open == 0


def test_drafts_end_with_the_context_of_the_draft_model() -> None:
    _, drafting, accepted = run(1, 0.1, context=100)
    assert max(len(it.tokens) for it in drafting.sequences) <= 100
    assert 40 < accepted < 100


def test_the_time_of_a_step_is_estimated_from_those_that_were_measured() -> None:
    costs = StepCosts()
    assert costs.estimate(1) is None
    for tokens in (2, 4, 100):
        costs.add(tokens, 0.1 * tokens)
    assert costs.estimate(3) == pytest.approx(0.3)
    assert costs.estimate(64) == pytest.approx(6.4)
    assert 0.1 < (costs.estimate(1) or 0) < 0.2
    assert 6.4 < (costs.estimate(128) or 0) < 14
    for _ in range(50):
        costs.add(2, 0.3)
    assert costs.estimate(2) == pytest.approx(0.3, rel=0.01)
    for _ in range(50):
        costs.add(2, 0.5)
    assert costs.estimate(2) == costs.estimate(4) == pytest.approx(0.4)
