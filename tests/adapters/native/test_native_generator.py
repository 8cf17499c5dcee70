"""Tests of the native engine's generation loop with a fake of its model."""

from typing import Any

import attrs
import pytest

from litgpt.adapters.native.generator import PREFILL_CHUNK, NativeGenerator
from litgpt.adapters.native.prefix_cache import MIN_SNAPSHOT
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.families import parse_config
from litgpt.domain.generation.batching import MAX_SEQUENCES
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
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
    assert long_model.steps[:3] == [[PREFILL_CHUNK], [188, 3, 321], [79, 100]]
    assert long_model.steps[3:] == [[1] * 4] * 3
    for at, prompt in enumerate(prompts):
        assert tokens(together[at]) == tokens(native(long_model).generate([prompt]))


def test_finished_answers_leave_the_batch_and_free_their_cache_at_once(model: FakeModel) -> None:
    generation = native(model).generate([request(5, max_new_tokens=count) for count in (1, 2, 4)])
    closed = [[sequence.closed for sequence in model.sequences] for _ in generation]
    assert [len(step) for step in model.steps] == [3, 2, 1, 1]
    assert closed[3] == [True, False, False]
    assert all(sequence.closed for sequence in model.sequences)


def test_many_prompts_are_computed_in_groups(model: FakeModel) -> None:
    prompts = [request(5, 6, at % 90, max_new_tokens=2) for at in range(MAX_SEQUENCES + 3)]
    answers = by_answer(native(model).generate(prompts))
    assert [len(answers[at]) for at in range(len(prompts))] == [2] * len(prompts)
    assert max(map(len, model.steps)) == MAX_SEQUENCES
    assert model.steps[-1] == [1] * 3


@pytest.mark.parametrize("started", [False, True])
def test_a_closed_generation_frees_its_caches(model: FakeModel, *, started: bool) -> None:
    generation = native(model).generate([request(5), request(6)])
    if started:
        next(generation)
    generation.close()
    assert all(sequence.closed for sequence in model.sequences) is started
    assert list(generation) == []


def test_a_prefix_is_computed_once(model: FakeModel) -> None:
    generator = native(model)
    cache = generator.prefix_cache()
    list(generator.generate([request(5, 6, 7)], prefix=cache))
    model.steps.clear()
    list(generator.generate([request(5, 6, 7, 8, 9, max_new_tokens=1)], prefix=cache))
    assert model.steps == [[2]]
    assert len(model.sequences) == 1


def test_the_cache_of_another_model_or_of_freed_pages_is_not_used(model: FakeModel) -> None:
    cache = native(model).prefix_cache()
    first = request(*range(1, 30))
    list(native(model).generate([first], prefix=cache))
    model.steps.clear()
    other = attrs.evolve(model, steps=[], sequences=[], window=5)
    answer = tokens(native(other).generate([first], prefix=cache))
    assert other.steps[0] == [29]
    other.steps.clear()
    assert tokens(native(other).generate([request(*range(1, 11))], prefix=cache)) != answer
    assert other.steps[0] == [10]


def test_a_prefix_that_cannot_be_truncated_to_is_kept_when_it_is_needed_again(long_model: FakeModel) -> None:
    model = attrs.evolve(long_model, window=0)
    generator, alone = native(model), native(long_model)
    cache = generator.prefix_cache()
    system, longer = list(range(1, 1 + MIN_SNAPSHOT)), list(range(1, 1 + 2 * MIN_SNAPSHOT))
    expected_steps = (
        ([*system, 90, 91], [[MIN_SNAPSHOT + 2]]),
        ([*system, 92, 93, 94], [[MIN_SNAPSHOT], [3]]),  # its beginning is needed for the second time
        ([*system, 95], [[1]]),
        ([7, 7, 7], [[3]]),  # shares too little
        ([*longer, 90], [[MIN_SNAPSHOT + 1]]),
        ([*longer, 91], [[MIN_SNAPSHOT], [1]]),
        ([*longer, 92, 93], [[2]]),
        ([*longer[:-1], 90, 91], [[2 * MIN_SNAPSHOT - 1], [2]]),
    )
    for prompt, steps in expected_steps:
        fork = cache.fork()
        for prefix in (cache, fork):
            model.steps.clear()
            answer = tokens(generator.generate([request(*prompt, max_new_tokens=2)], prefix=prefix))
            assert model.steps == [*steps, [1]]
            assert answer == tokens(alone.generate([request(*prompt, max_new_tokens=2)]))
        fork.close()
    cache.close()
    assert all(sequence.closed for sequence in model.sequences)


def test_prompts_outside_the_vocabulary_are_refused(model: FakeModel) -> None:
    for bad in (-1, 100):
        with pytest.raises(InvalidArgument, match="token ids from 0 to 99"):
            native(model).generate([request(5), request(bad)])
    with pytest.raises(InvalidArgument, match="a prefix cache of this generator"):
        native(model).generate([request(5)], prefix=object())  # type: ignore[arg-type]


def test_logits_that_are_not_finite_are_an_error_that_names_the_prompts(model: FakeModel) -> None:
    model.overrides = {9: float("nan")}
    with pytest.raises(NonFiniteLogits, match=r"for prompt 1, 3 "):
        list(native(model).generate([request(5), request(9), request(6), request(9)]))
    assert all(sequence.closed for sequence in model.sequences)
    cache = native(model).prefix_cache()
    with pytest.raises(NonFiniteLogits):
        list(native(model).generate([request(5, 9)], prefix=cache))
    assert list(cache.tokens) == []


def test_an_error_of_a_step_leaves_the_prefix_cache_as_it_was(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = native(model)
    cache = generator.prefix_cache()
    list(generator.generate([request(5, 6, 7)], prefix=cache))
    with monkeypatch.context() as patch:
        patch.setattr(FakeModel, "step", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(generator.generate([request(5, 6, 7, 8)], prefix=cache))
    assert tokens(generator.generate([request(5, 6, 7, 8)], prefix=cache)) == tokens(
        generator.generate([request(5, 6, 7, 8)])
    )


def test_a_request_without_a_seed_takes_one_from_the_source(model: FakeModel) -> None:
    seeds = iter(range(100))
    generator = NativeGenerator(model, lambda: next(seeds))  # type: ignore[arg-type]
    sampled = [request(5, sampling_params=SamplingParams(), max_new_tokens=9) for _ in range(2)]
    answers = by_answer(generator.generate(sampled))
    repeated = [request(5, sampling_params=SamplingParams(seed=seed), max_new_tokens=9) for seed in range(2)]
    assert {at: tokens(events) for at, events in answers.items()} == {
        at: tokens(events) for at, events in by_answer(generator.generate(repeated)).items()
    }
