"""Tests of the native engine's generation loop with a fake of its model."""

from typing import Any

import attrs
import pytest

from litgpt.adapters.native.generator import NativeGenerator
from litgpt.domain.common_prefix import MIN_SHARED
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.families import parse_config
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.domain.scoring.request import ScoringRequest
from tests.adapters.native.fake_native_model import FakeModel
from tests.contracts.distribution_strategy import CONFIG
from tests.contracts.generator import GREEDY, GeneratorContract, by_answer, tokens


def native(model: Any, **options: Any) -> NativeGenerator:
    return NativeGenerator(model, lambda: 0, **options)


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(parse_config("tiny", CONFIG))


@pytest.fixture
def long_model(model: FakeModel) -> FakeModel:
    return attrs.evolve(model, architecture=attrs.evolve(model.architecture, context_length=5000))


def request(*prompt: int, max_new_tokens: int = 4, **options: Any) -> GenerationRequest:
    return GenerationRequest(
        prompt=prompt, max_new_tokens=max_new_tokens, **({"sampling_params": GREEDY} | options)
    )


class TestNativeGenerator(GeneratorContract):
    @pytest.fixture(params=[None, "max"])
    def generator(self, request: Any, model: FakeModel) -> NativeGenerator:
        return native(model, kv_cache_size=request.param)


def test_a_fixed_cache_limits_the_context(model: FakeModel) -> None:
    assert native(model, kv_cache_size=10).context == 10
    assert native(model, kv_cache_size=1000).context == 64


def test_prompts_are_computed_in_chunks_over_all_of_them(long_model: FakeModel) -> None:
    lengths = (700, 3, 400, 100)
    prompts = [request(*[5 + at] * length) for at, length in enumerate(lengths)]
    together = by_answer(native(long_model).generate(prompts))
    # Once answers are decoded, prompts get a smaller part of a step.
    assert long_model.steps[:3] == [[512], [188, 3, 321], [1, 1, 24]]
    for at, prompt in enumerate(prompts):
        assert tokens(together[at]) == tokens(native(long_model).generate([prompt]))


def test_a_running_answer_is_not_held_up_by_a_long_prompt(long_model: FakeModel) -> None:
    generator = native(long_model)
    running = generator.generate([request(5, max_new_tokens=200)])
    next(running)
    late = generator.generate([request(*[6] * 1000, max_new_tokens=1)])
    next(late)
    assert max(map(sum, long_model.steps)) == 1 + StepLimits().shared_step_tokens
    assert [step[0] for step in long_model.steps] == [1] * len(long_model.steps)


def test_finished_answers_leave_the_batch_and_free_their_cache_at_once(model: FakeModel) -> None:
    generation = native(model).generate([request(5, max_new_tokens=count) for count in (1, 2, 4)])
    closed = [[sequence.closed for sequence in model.sequences] for _ in generation]
    assert [len(step) for step in model.steps] == [3, 2, 1, 1]
    assert closed[3] == [True, True, False]
    assert all(sequence.closed for sequence in model.sequences)


def test_requests_join_as_others_finish(model: FakeModel) -> None:
    most = StepLimits().max_sequences
    prompts = [request(5, 6, at % 90, max_new_tokens=1 + at % 3) for at in range(most + 50)]
    answers = by_answer(native(model).generate(prompts))
    assert [len(answers[at]) for at in range(len(prompts))] == [1 + at % 3 for at in range(len(prompts))]
    assert max(map(len, model.steps)) <= most
    assert all(sequence.closed for sequence in model.sequences)


@pytest.mark.parametrize("started", [False, True])
def test_a_closed_generation_frees_its_caches(model: FakeModel, *, started: bool) -> None:
    generation = native(model).generate([request(5), request(6)])
    if started:
        next(generation)
    generation.close()
    assert bool(model.sequences) is started
    assert all(sequence.closed for sequence in model.sequences)
    assert list(generation) == []


def test_a_common_prefix_is_computed_once(long_model: FakeModel) -> None:
    generator = native(long_model)
    system = list(range(1, 1 + 2 * MIN_SHARED))
    first = [request(*system, 90 + at, max_new_tokens=2) for at in range(3)]
    answers = by_answer(generator.generate(first))
    assert long_model.steps == [[len(system)], [1, 1, 1], [1, 1, 1]]
    assert [answers[at][0].cached_tokens for at in range(3)] == [0, len(system), len(system)]
    long_model.steps.clear()
    later = list(generator.generate([request(*system, 80, 81, max_new_tokens=1)]))
    assert long_model.steps == [[2]]
    assert later[0].cached_tokens == len(system)
    generator.close()
    assert all(sequence.closed for sequence in long_model.sequences)


def test_a_prefix_that_cannot_be_truncated_to_is_kept_when_it_is_needed_again(long_model: FakeModel) -> None:
    model = attrs.evolve(long_model, window=0)
    generator, alone = native(model), native(long_model)
    system, longer = list(range(1, 1 + MIN_SHARED)), list(range(1, 1 + 2 * MIN_SHARED))
    expected_steps = (
        ([*system, 90, 91], [[MIN_SHARED + 2]]),
        ([*system, 92, 93, 94], [[MIN_SHARED], [3]]),  # its beginning is needed for the second time
        ([*system, 95], [[1]]),
        ([7, 7, 7], [[3]]),  # shares too little
        ([*longer, 90], [[MIN_SHARED + 1]]),
        ([*longer, 91], [[MIN_SHARED], [1]]),
        ([*longer, 92, 93], [[2]]),
    )
    for prompt, steps in expected_steps:
        model.steps.clear()
        answer = tokens(generator.generate([request(*prompt, max_new_tokens=2)]))
        assert model.steps == [*steps, [1]]
        assert answer == tokens(alone.generate([request(*prompt, max_new_tokens=2)]))
    generator.close()
    alone.close()
    assert all(sequence.closed for sequence in model.sequences)


def test_prompts_outside_the_vocabulary_are_refused(model: FakeModel) -> None:
    for bad in (-1, 100):
        with pytest.raises(InvalidArgument, match="token ids from 0 to 99"):
            native(model).generate([request(5), request(bad)])


def test_logits_that_are_not_finite_are_an_error_that_names_the_prompts(model: FakeModel) -> None:
    model.overrides = {9: float("nan")}
    with pytest.raises(NonFiniteLogits, match=r"for prompt 1, 3 "):
        list(native(model).generate([request(5), request(9), request(6), request(9)]))
    assert all(sequence.closed for sequence in model.sequences)


def test_logits_that_are_not_finite_end_no_other_request(model: FakeModel) -> None:
    model.overrides = {9: float("nan")}
    generator = native(model)
    good, bad = generator.generate([request(5)]), generator.generate([request(9)])
    first = next(good)
    with pytest.raises(NonFiniteLogits):
        list(bad)
    model.overrides = {}
    assert [first.token, *tokens(good)] == tokens(native(model).generate([request(5)]))


def test_after_an_interrupted_step_the_requests_continue(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = native(model)
    expected = tokens(native(model).generate([request(5, 6, 7)]))
    generation = generator.generate([request(5, 6, 7)])
    answer = [next(generation).token]
    with monkeypatch.context() as patch:
        patch.setattr(FakeModel, "step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(generator.generate([request(5, 6, 7, 8)]))
    assert answer + tokens(generation) == expected


def test_a_step_that_is_interrupted_after_sampling_repeats_its_random_numbers(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded = request(5, 6, 7, sampling_params=SamplingParams(seed=3), max_new_tokens=9, logprobs=True)
    expected = tokens(native(model).generate([seeded]))
    engine = native(model).open()
    engine.add(seeded)
    events = engine.step()
    with monkeypatch.context() as patch:
        patch.setattr("litgpt.adapters.native.runner.log_probabilities", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.step()
    while engine.has_unfinished:
        events += engine.step()
    assert [event.token for event in events if isinstance(event, TokenEvent)] == expected


def test_a_request_without_a_seed_takes_one_from_the_source(model: FakeModel) -> None:
    seeds = iter(range(100))
    generator = NativeGenerator(model, lambda: next(seeds))  # type: ignore[arg-type]
    sampled = [request(5, sampling_params=SamplingParams(), max_new_tokens=9) for _ in range(2)]
    answers = by_answer(generator.generate(sampled))
    repeated = [request(5, sampling_params=SamplingParams(seed=seed), max_new_tokens=9) for seed in range(2)]
    assert {at: tokens(events) for at, events in answers.items()} == {
        at: tokens(events) for at, events in by_answer(generator.generate(repeated)).items()
    }


def test_scores_are_computed_in_steps_of_bounded_size(long_model: FakeModel) -> None:
    prompt = [5 + at % 7 for at in range(700)]
    continuations = [[1], [2, 3], [4] * 600]
    scoring = [ScoringRequest(ids=[*prompt, *ids], start=len(prompt)) for ids in continuations]
    together = native(long_model).score(scoring)
    # The prompt once, without its last token; then each continuation without its last token.
    assert long_model.steps == [[512], [187], [512], [88, 2, 1]]
    assert together == [native(long_model).score([one])[0] for one in scoring]


def test_scores_that_are_not_finite_name_their_text(model: FakeModel) -> None:
    model.overrides = {9: float("nan")}
    texts = [ScoringRequest(ids=ids) for ids in ([5, 6, 7], [5, 9, 7], [5, 6])]
    with pytest.raises(NonFiniteLogits, match="prompt 1"):
        native(model).score(texts)
