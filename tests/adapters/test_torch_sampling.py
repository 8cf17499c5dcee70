"""Draws follow the distribution that the settings leave."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from litgpt.adapters.pytorch.sampling import Draws, log_probabilities, pick
from litgpt.domain.sampling import Sampling

PROBABILITIES = (0.5, 0.25, 0.15, 0.1)


def logits(probabilities: tuple[float, ...] = PROBABILITIES) -> Tensor:
    return torch.tensor(probabilities).log()[None] + 3  # a constant changes nothing


def frequencies(draws: int = 1500, row: Tensor | None = None, **settings: Any) -> list[float]:
    state = Draws(Sampling(seed=0, **settings))
    row = logits() if row is None else row
    counts = Counter(pick(row, [state])[0] for _ in range(draws))
    return [counts[token] / draws for token in range(row.shape[-1])]


def test_tokens_come_as_often_as_they_are_likely() -> None:
    assert frequencies() == pytest.approx(PROBABILITIES, abs=0.05)


def test_temperature_flattens_and_sharpens() -> None:
    squared = torch.tensor(PROBABILITIES).square()
    assert frequencies(temperature=0.5) == pytest.approx((squared / squared.sum()).tolist(), abs=0.05)


def test_top_k_keeps_the_likeliest() -> None:
    assert frequencies(top_k=2) == pytest.approx([2 / 3, 1 / 3, 0, 0], abs=0.05)
    assert frequencies(top_k=100) == pytest.approx(PROBABILITIES, abs=0.05)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, 1), (0.5, 1), (0.6, 2), (0.75, 2), (0.76, 3), (0.999, 4)])
def test_top_p_keeps_the_fewest_tokens_that_have_it(top_p: float, kept: int) -> None:
    assert sum(one > 0 for one in frequencies(top_p=top_p)) == kept


def test_temperature_comes_before_top_p_and_after_top_k() -> None:
    # Of the first two, flattened, each has half: neither alone has 0.6.
    assert sum(one > 0 for one in frequencies(top_k=2, temperature=100.0, top_p=0.6)) == 2
    assert sum(one > 0 for one in frequencies(top_k=2, temperature=0.1, top_p=0.6)) == 1


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.9999])
def test_a_large_vocabulary_is_cut_where_a_sorted_one_would_be(top_p: float) -> None:
    row = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(0)) * 3
    probabilities, order = row[0].softmax(-1).sort(descending=True)
    kept = set(order[: int((probabilities.cumsum(-1) - probabilities < top_p).sum())].tolist())
    state = Draws(Sampling(seed=1, top_p=top_p))
    assert {pick(row, [state])[0] for _ in range(300)} <= kept


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"top_p": 0}, {"top_k": 1}])
def test_greedy_settings_take_the_likeliest(settings: dict[str, Any]) -> None:
    assert frequencies(draws=50, **settings) == [1, 0, 0, 0]


def test_a_row_draws_the_same_whatever_is_beside_it() -> None:
    row = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))

    def drawn(beside: int) -> list[int]:
        states = [Draws(Sampling(seed=seed)) for seed in range(beside + 1)]
        return [pick(row.expand(beside + 1, -1), states)[0] for _ in range(20)]

    assert drawn(0) == drawn(3)


def test_log_probabilities_are_of_the_whole_distribution() -> None:
    assert log_probabilities(logits(), [2]) == pytest.approx([torch.tensor(0.15).log().item()])
