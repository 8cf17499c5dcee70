"""Tests of what the sampling parameters remember of a request's tokens."""

import time

import pytest

from litgpt.domain.generation.logit_edits import LogitEdits
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams


def state(prompt: tuple[int, ...] = (), **settings: object) -> SamplerState:
    return SamplerState(SamplingParams(seed=0, **settings), lambda: 0, prompt)  # type: ignore[arg-type]


def test_a_request_without_such_parameters_remembers_nothing() -> None:
    plain = [state((1, 2)), state((1, 2), temperature=0.5, top_k=3, min_p=0.1, xtc_probability=0.5)]
    for request in plain:
        request.append(3)
    assert [request.history for request in plain] == [None, None]
    assert LogitEdits.of_batch(plain, 10) is None


def test_only_rows_with_such_parameters_are_changed() -> None:
    edits = LogitEdits.of_batch([state(), state((5, 5, 6), repetition_penalty=1.5), state()], 10)
    assert edits is not None
    assert set(edits.repetition.rows) == {1}
    assert sorted(edits.repetition.ids) == [5, 6]
    assert len(edits.bias) == len(edits.excluded) == len(edits.min_tokens) == 0


def test_penalties_count_the_answer() -> None:
    request = state((7, 8), frequency_penalty=0.5, presence_penalty=1.0)
    for token in (7, 9, 7, 7):
        request.append(token)
    assert request.history is not None
    assert dict(zip(request.history.generated, request.history.penalties, strict=True)) == {7: -2.5, 9: -1.5}


def test_stop_tokens_beyond_the_vocabulary_are_ignored() -> None:
    request = SamplerState(SamplingParams(seed=0, min_tokens=1), lambda: 0, (1,), frozenset({3, 99}))
    edits = LogitEdits.of_batch([request], 10)
    assert edits is not None
    assert list(edits.min_tokens.ids) == [3]
    request.append(4)
    after = LogitEdits.of_batch([request], 10)
    assert after is not None
    assert list(after.min_tokens.ids) == []


@pytest.mark.parametrize("prompt", [(1,) * 50_000, (1, 2, 3) * 15_000, tuple(range(50_000))])
def test_dry_reads_a_long_prompt_in_linear_time(prompt: tuple[int, ...]) -> None:
    start = time.process_time()
    request = state(prompt, dry_multiplier=1.0)
    request.append(prompt[0])
    assert request.history is not None
    request.history.dry_penalties()
    assert time.process_time() - start < 5  # a quadratic algorithm takes minutes
