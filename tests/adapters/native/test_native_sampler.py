"""Tests of the native engine's sampler: it draws the tokens of the torch engine's sampler."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from litgpt.adapters.native.sampling import sampler as native
from litgpt.adapters.pytorch.generation import sampler as reference
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams

SETTINGS: list[dict[str, Any]] = [
    {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    for temperature, top_k, top_p in itertools.product(
        (0.0, 0.3, 1.0, 7.0), (None, 1, 2, 50, 10_000), (0.0, 1e-6, 0.5, 0.95, 0.9999, 1.0)
    )
] + [{"temperature": 1e300}]  # with top_p, the order of equal probabilities would matter


def no_seed() -> int:
    raise AssertionError("this request has a seed, or is greedy")


def random_logits(rows: int, vocabulary: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    scales = random.uniform(0.1, 8, size=(rows, 1))
    logits: np.ndarray = (random.normal(size=(rows, vocabulary)) * scales).astype(np.float32)
    return logits


@pytest.mark.parametrize("vocabulary", [1, 2, 7, 256, 257, 3000, 49_152])
def test_tokens_equal_those_of_the_torch_sampler(vocabulary: int) -> None:
    params = [SamplingParams(seed=seed, **settings) for seed, settings in enumerate(SETTINGS)]
    states = [SamplerState(one, no_seed) for one in params]
    expected_states = [SamplerState(one, no_seed) for one in params]
    for step in range(2 if vocabulary > 3000 else 6):
        logits = random_logits(len(params), vocabulary, seed=step)
        tokens = native.sample(logits, states)
        assert tokens == reference.sample(torch.from_numpy(logits), expected_states)
        logprobs = native.log_probabilities(logits, tokens)
        expected = reference.log_probabilities(torch.from_numpy(logits), tokens)
        assert logprobs == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_excluded_tokens_are_never_sampled() -> None:
    logits = np.full((1, 1000), -np.inf, np.float32)
    logits[0, [3, 999]] = 1.0
    state = SamplerState(SamplingParams(seed=0), no_seed)
    assert {native.sample(logits, [state])[0] for _ in range(50)} == {3, 999}
    assert native.log_probabilities(logits, [3]) == pytest.approx([-0.6931472])


def test_equal_logits_are_all_sampled() -> None:
    state = SamplerState(SamplingParams(seed=0), no_seed)
    drawn = {native.sample(np.zeros((1, 5), np.float32), [state])[0] for _ in range(200)}
    assert drawn == set(range(5))


def test_logits_of_any_size_are_sampled() -> None:
    logits = np.array([[-3e38, 3e38, 3e38, -np.inf]], np.float32)
    state = SamplerState(SamplingParams(seed=0, temperature=1e-3), no_seed)
    assert {native.sample(logits, [state])[0] for _ in range(50)} == {1, 2}


@pytest.mark.parametrize("settings", [{"temperature": 0}, {}, {"top_k": 2}, {"top_p": 0.5}])
def test_logits_that_are_not_finite_are_an_error_with_their_rows(settings: dict[str, Any]) -> None:
    logits = np.zeros((5, 4), np.float32)
    logits[1, 2], logits[2, 0], logits[4] = np.nan, np.inf, -np.inf
    states = [SamplerState(SamplingParams(seed=0, **settings), no_seed) for _ in range(5)]
    with pytest.raises(NonFiniteLogits) as caught:
        native.sample(logits, states)
    assert (caught.value.rows, caught.value.num_prompts) == ([1, 2, 4], 5)


def test_a_seed_is_drawn_only_for_a_request_that_needs_one() -> None:
    logits = random_logits(1, 100, seed=0)
    drawn = SamplerState(SamplingParams(), lambda: 17)
    given = SamplerState(SamplingParams(seed=17), no_seed)
    assert [native.sample(logits, [drawn]) for _ in range(9)] == [
        native.sample(logits, [given]) for _ in range(9)
    ]
    SamplerState(SamplingParams(temperature=0), no_seed)
