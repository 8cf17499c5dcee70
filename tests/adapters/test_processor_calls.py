"""Tests of how often the logits processors of a request are called."""

from typing import Any

import numpy as np
import pytest

from litgpt.domain.generation.errors import AllTokensExcluded
from tests.adapters.sampling_references import ENGINES, make_state, params_with, sample


@pytest.mark.parametrize("engine", ENGINES)
def test_processors_are_called_once_for_a_token(engine: str) -> None:
    calls: list[list[int]] = []

    def record(ids: list[int], row: Any) -> Any:
        calls.append(ids)
        return row

    logits = np.zeros((2, 4), np.float32)
    good = make_state(params_with(logits_processor=record), [5])
    bad = make_state(params_with(logits_processor=lambda _, row: row * np.nan), [5])
    for _ in range(2):
        with pytest.raises(AllTokensExcluded):
            sample(engine, logits, [good, bad])
        good.retry()
    (token,) = sample(engine, logits[:1], [good])
    assert calls == [[5]]
    good.append(token)
    sample(engine, logits[:1], [good])
    assert calls == [[5], [5, token]]
