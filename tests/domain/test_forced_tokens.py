"""Tests of tokens that a constraint forces, which are computed without steps of their own."""

import attrs
import pytest

from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.scheduler import StepLimits
from tests.domain.scripted_runner import ScriptedConstraint, ScriptedRunner, expected_answer
from tests.domain.test_scheduling import CONTEXT, drain, request, tokens


@attrs.define
class LongRun(ScriptedConstraint):
    """Forces a long run of tokens."""

    seed: int = 0
    length: int = 1000

    def forced(self) -> list[int]:
        return [3] * (100 - len(self.tokens))


def constrained(*prompt: int, max_new_tokens: int = 30, constraint: TokenConstraint) -> GenerationRequest:
    return attrs.evolve(request(*prompt, max_new_tokens=max_new_tokens), constraint=constraint)


@pytest.mark.parametrize("max_draft_tokens", [0, 8])
def test_forced_tokens_are_computed_together(max_draft_tokens: int) -> None:
    asked = [
        constrained(at, *[2] * at, max_new_tokens=40 + at, constraint=ScriptedConstraint(at, 45))
        for at in range(9)
    ]
    runner = ScriptedRunner(limits=StepLimits(max_draft_tokens=max_draft_tokens))
    engine = Engine(runner, CONTEXT)
    for it in asked:
        engine.add(it)
    answers = drain(engine)
    assert [tokens(answers[at]) for at in range(9)] == [expected_answer(it, CONTEXT) for it in asked]
    assert len(runner.steps) < 30


def test_an_answer_that_is_forced_completely_is_not_computed() -> None:
    runner = ScriptedRunner()
    engine = Engine(runner, CONTEXT)
    constraint = ScriptedConstraint(5, 3)
    index = engine.add(constrained(1, 2, max_new_tokens=40, constraint=constraint))
    assert len(constraint.forced()) >= 3
    assert tokens(drain(engine)[index]) == constraint.forced()[:3]
    assert runner.steps == []
    assert runner.num_open == engine.pages.num_used == 0


def test_tokens_whose_log_probabilities_are_asked_for_are_all_sampled() -> None:
    runner = ScriptedRunner()
    engine = Engine(runner, CONTEXT)
    it = attrs.evolve(constrained(1, 2, constraint=ScriptedConstraint(5, 40)), logprobs=True)
    engine.add(it)
    (events,) = drain(engine).values()
    assert tokens(events) == expected_answer(it, CONTEXT)
    assert all(event.logprob is not None for event in events)


def test_a_long_run_of_forced_tokens_does_not_hold_up_others() -> None:
    runner = ScriptedRunner()
    engine = Engine(runner, CONTEXT)
    engine.add(request(1, max_new_tokens=60))
    engine.step()
    it = constrained(2, max_new_tokens=150, constraint=LongRun())
    index = engine.add(it)
    assert tokens(drain(engine)[index]) == expected_answer(it, CONTEXT)
    assert 4 < max(map(sum, runner.steps)) <= 17
    assert len(runner.steps) < 100


def test_an_answer_that_ends_at_once_releases_no_prefix_that_another_one_needs() -> None:
    runner = ScriptedRunner(max_cached_pages=22)
    engine = Engine(runner, CONTEXT)
    first, other = [1] * 40, [2] * 40
    for prompt in (first, other):
        engine.add(GenerationRequest(prompt=prompt, max_new_tokens=5))
        drain(engine)
    prompts = [([*first, 3], LongRun()), ([*first, 4], LongRun()), ([*other, 5], None)]
    requests = [
        GenerationRequest(prompt=prompt, max_new_tokens=3, constraint=constraint)
        for prompt, constraint in prompts
    ]
    indices = [engine.add(it) for it in requests]
    answers = drain(engine)
    for index, it in zip(indices, requests, strict=True):
        assert tokens(answers[index]) == expected_answer(it, CONTEXT)
    engine.close()
    assert runner.num_open == 0
