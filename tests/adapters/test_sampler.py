"""Tests of the sampler: samples follow the distribution of the sampling parameters."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.sampler import log_probabilities, sample
from litgpt.adapters.pytorch.runtime.random_seed import random_seed
from litgpt.domain.errors import WrongType
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams

PROBABILITIES = (0.5, 0.25, 0.15, 0.1)


def logits(probabilities: tuple[float, ...] = PROBABILITIES) -> Tensor:
    return torch.tensor(probabilities).log()[None] + 3  # a constant changes nothing


def frequencies(draws: int = 1500, row: Tensor | None = None, **settings: Any) -> list[float]:
    state = SamplerState(SamplingParams(seed=0, **settings), random_seed)
    row = logits() if row is None else row
    counts = Counter(sample(row, [state])[0] for _ in range(draws))
    return [counts[token] / draws for token in range(row.shape[-1])]


def test_tokens_come_as_often_as_they_are_likely() -> None:
    assert frequencies() == pytest.approx(PROBABILITIES, abs=0.05)


def test_temperature_flattens_and_sharpens() -> None:
    squared = torch.tensor(PROBABILITIES).square()
    assert frequencies(temperature=0.5) == pytest.approx((squared / squared.sum()).tolist(), abs=0.05)


def test_top_k_keeps_the_likeliest() -> None:
    assert frequencies(top_k=2) == pytest.approx([2 / 3, 1 / 3, 0, 0], abs=0.05)
    assert frequencies(top_k=100) == pytest.approx(PROBABILITIES, abs=0.05)


@pytest.mark.parametrize(
    ("top_p", "expected"), [(0.4, 1), (0.5, 1), (0.6, 2), (0.75, 2), (0.76, 3), (0.999, 4)]
)
def test_top_p_keeps_the_fewest_tokens_that_have_it(top_p: float, expected: int) -> None:
    assert sum(frequency > 0 for frequency in frequencies(top_p=top_p)) == expected


def test_temperature_comes_before_top_p_and_after_top_k() -> None:
    # Of the first two, flattened, each has half: neither alone has 0.6.
    assert sum(frequency > 0 for frequency in frequencies(top_k=2, temperature=100.0, top_p=0.6)) == 2
    assert sum(frequency > 0 for frequency in frequencies(top_k=2, temperature=0.1, top_p=0.6)) == 1


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.9999])
def test_a_large_vocabulary_is_cut_where_a_sorted_one_would_be(top_p: float) -> None:
    row = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0)) * 3
    probabilities, order = row[0].softmax(-1).sort(descending=True)
    expected = set(order[: int((probabilities.cumsum(-1) - probabilities < top_p).sum())].tolist())
    state = SamplerState(SamplingParams(seed=1, top_p=top_p), random_seed)
    assert {sample(row, [state])[0] for _ in range(300)} <= expected


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"top_p": 0}, {"top_k": 1}])
def test_greedy_settings_take_the_likeliest(settings: dict[str, Any]) -> None:
    assert frequencies(draws=50, **settings) == [1, 0, 0, 0]


def test_a_row_is_sampled_independently_of_its_batch() -> None:
    row = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))

    def drawn(beside: int) -> list[int]:
        states = [SamplerState(SamplingParams(seed=seed), random_seed) for seed in range(beside + 1)]
        return [sample(row.expand(beside + 1, -1), states)[0] for _ in range(20)]

    assert drawn(0) == drawn(3)


def test_log_probabilities_are_of_the_whole_distribution() -> None:
    assert log_probabilities(logits(), [2]) == pytest.approx([torch.tensor(0.15).log().item()])


def drawn(row: Tensor, times: int = 40, **settings: Any) -> set[int]:
    state = SamplerState(SamplingParams(seed=0, **settings), random_seed)
    return {sample(row[None], [state])[0] for _ in range(times)}


SIZES = (1e-30, 1.0, 1e4, 3e38)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-45, 1e-38, 1e-8, 9e-6])
@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.9}], ids=str)
def test_a_temperature_next_to_zero_is_greedy(
    temperature: float, size: float, options: dict[str, Any]
) -> None:
    row = torch.tensor([0.2, -0.3, 0.9, 0.5, -1.0]) * size
    assert drawn(row, temperature=temperature, **options) == {2}


@pytest.mark.parametrize("temperature", [1e-5, 1e-4, 1e-3])
def test_a_low_temperature_samples_only_nearly_equal_tokens(temperature: float) -> None:
    assert drawn(torch.tensor([0.2, 5.0, 5.0, -2.0, 1.0]), temperature=temperature) == {1, 2}


@pytest.mark.parametrize("temperature", [1e30, 1e38, 1e39, 1e308, 1.7976931348623157e308])
def test_a_huge_temperature_draws_evenly_among_what_is_not_excluded(temperature: float) -> None:
    row = torch.tensor([1e4, -math.inf, 0.0, -1e4, -math.inf])
    assert drawn(row, temperature=temperature) == {0, 2, 3}
    assert drawn(row, temperature=temperature, top_k=2) == {0, 2}


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(5e-324, {1}), (1e-46, {1}), (1e-12, {1}), (math.nextafter(1, 0), {0, 1, 2}), (1, {0, 1, 2})],
)
@pytest.mark.parametrize("vocabulary", [4, 5000])
def test_top_p_at_its_edges(top_p: float, expected: set[int], vocabulary: int) -> None:
    row = torch.full((vocabulary,), -math.inf)
    row[:3] = torch.tensor([1.0, 1.5, 0.7])
    assert drawn(row, top_p=top_p) == expected


@pytest.mark.parametrize("top_k", [4, 5, 2**31, 2**63, 10**30])
def test_a_top_k_beyond_the_vocabulary_keeps_all_of_it(top_k: int) -> None:
    assert drawn(torch.zeros(4), top_k=top_k) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", [2**63, 2**64, 10**40])
def test_a_seed_may_be_any_size(seed: int) -> None:
    first, other = (
        sample(torch.zeros(1, 100), [SamplerState(SamplingParams(seed=seed), random_seed)]) for _ in range(2)
    )
    assert first == other


@pytest.mark.parametrize("settings", [{}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.5}], ids=str)
def test_infinitely_low_logits_exclude_tokens(settings: dict[str, Any]) -> None:
    inf = math.inf
    assert drawn(torch.tensor([-inf, -inf, 1.0, -inf]), **settings) == {2}
    half = torch.tensor([6e4, -6e4, -65504.0, 0.0], dtype=torch.float16)
    assert drawn(half, **settings) == {0}


@pytest.mark.parametrize("settings", [{}, {"temperature": 0}, {"top_k": 3}, {"top_p": 0.5}], ids=str)
@pytest.mark.parametrize(
    "row",
    [
        [1.0, math.nan, 2.0, 0.0],
        [math.nan] * 4,
        [-math.inf] * 4,
        [math.inf, math.nan, 0.0, 0.0],
        [9.0, math.inf, 1.0, -math.inf],
    ],
)
def test_logits_that_are_not_numbers_are_an_error_and_not_a_token(
    row: list[float], settings: dict[str, Any]
) -> None:
    with pytest.raises(NonFiniteLogits, match="precision="):
        sample(
            torch.tensor([[1.0, 2.0, 3.0, 4.0], row]),
            [SamplerState(SamplingParams(seed=0, **settings), random_seed) for _ in range(2)],
        )


def test_log_probabilities_are_never_nan() -> None:
    assert log_probabilities(torch.tensor([[math.inf, 1.0, math.inf, -math.inf]]), [0]) == pytest.approx(
        [-math.log(2)]
    )
    assert log_probabilities(torch.tensor([[3e38, -3e38]]), [1]) == [-math.inf]
    assert log_probabilities(torch.full((1, 4), 6e4, dtype=torch.float16), [3]) == pytest.approx(
        [-math.log(4)]
    )


def test_mixed_rows_sample_the_same_as_alone() -> None:
    random = torch.Generator().manual_seed(0)
    sampling_settings = [
        SamplingParams(seed=number, temperature=temperature, top_k=top_k, top_p=top_p)
        for number, (temperature, top_k, top_p) in enumerate(
            (temperature, top_k, top_p)
            for temperature in (0, 0.7, 1.0, 30.0)
            for top_k in (None, 3, 50, 2048)
            for top_p in (0.2, 0.99, 1.0)
        )
    ]
    together, alone = (
        [SamplerState(settings, random_seed) for settings in sampling_settings] for _ in range(2)
    )
    for dtype in (torch.float32, torch.bfloat16):  # in which many logits are equal
        rows = (torch.randn(len(sampling_settings), 3000, generator=random) * 2).to(dtype)
        expected = [sample(row[None], [value])[0] for row, value in zip(rows, alone, strict=True)]
        assert sample(rows, together) == expected


def test_the_host_synchronizes_once_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[str] = []

    def counted(name: str) -> Any:
        was = getattr(Tensor, name)

        def wait(self: Tensor) -> Any:
            waits.append(name)
            return was(self)

        return wait

    for name in ("tolist", "item", "__int__", "__bool__", "__float__", "__index__"):
        monkeypatch.setattr(Tensor, name, counted(name))
    sampling_settings = [
        SamplingParams(seed=1, **settings)
        for settings in ({}, {"top_k": 5}, {"top_p": 0.9}, {"temperature": 0})
    ]
    sample(torch.randn(4, 3000) * 5, [SamplerState(settings, random_seed) for settings in sampling_settings])
    assert waits == ["tolist"]


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.float16(0.5), np.array(0.5), torch.tensor(0.5)], ids=repr
)
def test_scalars_of_numpy_and_torch_are_numbers(value: Any) -> None:
    assert SamplingParams(temperature=value, top_p=value) == SamplingParams(temperature=0.5, top_p=0.5)


@pytest.mark.parametrize("value", [np.int32(3), np.uint64(3), np.array(3), torch.tensor(3)], ids=repr)
def test_scalars_of_numpy_and_torch_are_counts(value: Any) -> None:
    request = GenerationRequest(
        prompt=[1], max_new_tokens=value, sampling_params=SamplingParams(top_k=value, seed=value)
    )
    assert request == GenerationRequest(
        prompt=[1], max_new_tokens=3, sampling_params=SamplingParams(top_k=3, seed=3)
    )
    assert type(request.max_new_tokens) is type(request.sampling_params.seed) is int


@pytest.mark.parametrize("value", [np.True_, torch.tensor(True), np.array([1, 2]), torch.ones(2)], ids=repr)
def test_flags_and_arrays_are_not_numbers(value: Any) -> None:
    for setting in ("temperature", "top_k", "top_p", "seed"):
        with pytest.raises(WrongType, match=setting):
            SamplingParams(**{setting: value})
    with pytest.raises(WrongType, match="max_new_tokens"):
        GenerationRequest(prompt=[1], max_new_tokens=value)
