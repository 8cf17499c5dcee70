"""Tests of the parameters that change logits or exclude candidates, in both engines, against transformers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from litgpt import LLM
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.errors import AllTokensExcluded
from litgpt.domain.generation.sampling_params import SamplingParams
from tests.adapters.sampling_references import (
    ENGINES,
    Row,
    dry_penalties,
    edited_logits,
    filtered_probabilities,
    make_state,
    params_with,
    sample,
    xtc_probabilities,
)

TEXT = "The sky is blue. The sea is blue. The grass is green, and the sky is"


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM.load("smollm2", distribute=None, quiet=True) as loaded:
        loaded.distribute(accelerator="cpu", precision="32-true")  # transformers' top_k keeps equal logits
        yield loaded


@pytest.fixture(scope="module")
def ids(llm: LLM) -> list[int]:
    return llm.tokenizer.encode(TEXT).tolist()


@pytest.fixture(scope="module")
def logits(llm: LLM, ids: list[int]) -> Row:
    """The logits (T, V) of a real model after each token of a text."""
    with torch.inference_mode():
        rows: Row = llm(torch.tensor(ids)[None])[0].float().numpy()
    return rows


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def processed(processor: Any, ids: list[int], row: Row) -> Row:
    result: Row = processor(torch.tensor(ids)[None], torch.from_numpy(row.copy())[None])[0].numpy()
    return result


@pytest.mark.parametrize("penalty", [0.7, 1.05, 1.3, 2.0])
def test_the_repetition_penalty_is_that_of_transformers(
    engine: str, logits: Row, ids: list[int], penalty: float
) -> None:
    reference = RepetitionPenaltyLogitsProcessor(penalty)
    for length in (2, 9, len(ids)):
        prompt, answer, row = ids[:1], ids[1:length], logits[length - 1]
        state = make_state(params_with(repetition_penalty=penalty), prompt, answer)
        actual = edited_logits(engine, row[None], [state])[0]
        np.testing.assert_array_equal(actual, processed(reference, ids[:length], row))


def test_bad_words_are_excluded_as_in_transformers(engine: str, logits: Row, ids: list[int]) -> None:
    words = [[ids[-1], 11], [12], [ids[-2], ids[-1], 13], [ids[-1], ids[-2], 14], [7] * 40, [12, 15]]
    reference = NoBadWordsLogitsProcessor(words, eos_token_id=None)
    state = make_state(params_with(bad_words=words), ids[:4], ids[4:])
    actual = edited_logits(engine, logits[-1:], [state])[0]
    np.testing.assert_array_equal(actual, processed(reference, ids, logits[-1]))
    assert np.flatnonzero(np.isneginf(actual)).tolist() == [11, 12, 13]


def test_stop_tokens_wait_for_min_tokens_as_in_transformers(engine: str, logits: Row, ids: list[int]) -> None:
    reference = MinNewTokensLengthLogitsProcessor(5, 3, [2, 17], device="cpu")
    for length in (5, 7, 8, 9):
        state = make_state(params_with(min_tokens=3), ids[:5], ids[5:length], stops=[17, 2, 10**6])
        actual = edited_logits(engine, logits[length - 1][None], [state])[0]
        np.testing.assert_array_equal(actual, processed(reference, ids[:length], logits[length - 1]))


def test_a_logit_bias_is_added_as_in_transformers(engine: str, logits: Row, ids: list[int]) -> None:
    bias = {3: -100.0, 900: 2.5, 20_000: 0.1}
    reference = SequenceBiasLogitsProcessor([[[token], value] for token, value in bias.items()])
    actual = edited_logits(engine, logits[-1:], [make_state(params_with(logit_bias=bias), ids)])[0]
    np.testing.assert_array_equal(actual, processed(reference, ids, logits[-1]))


def test_frequency_and_presence_penalties_follow_the_formula_of_openai(engine: str, logits: Row) -> None:
    answer = [5, 6, 5, 5, 7]
    params = params_with(frequency_penalty=0.3, presence_penalty=-0.5)
    actual = edited_logits(engine, logits[-1:], [make_state(params, [5, 8, 9], answer)])[0]
    expected = logits[-1].copy()
    for token in set(answer):  # the prompt does not count
        expected[token] -= answer.count(token) * 0.3 + (answer.count(token) > 0) * -0.5
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert (np.flatnonzero(actual != logits[-1]) == sorted(set(answer))).all()


def test_only_allowed_tokens_are_left(engine: str, logits: Row) -> None:
    state = make_state(params_with(allowed_token_ids=[9, 4, 9]))
    actual = edited_logits(engine, logits[:2], [make_state(params_with()), state])
    np.testing.assert_array_equal(actual[0], logits[0])
    assert np.flatnonzero(np.isfinite(actual[1])).tolist() == [4, 9]
    np.testing.assert_array_equal(actual[1, [4, 9]], logits[1, [4, 9]])


@pytest.mark.parametrize("breakers", [[], [3], [0, 3]])
def test_dry_follows_its_definition(breakers: list[int]) -> None:
    random = np.random.default_rng(0)
    for alphabet in (1, 2, 4, 12):
        tokens = random.integers(alphabet, size=60).tolist()
        params = params_with(dry_multiplier=0.8, dry_breakers=breakers, dry_allowed_length=1 + alphabet % 3)
        for split in (0, 1, 30, 60):
            state = make_state(params, tokens[:split], tokens[split:])
            assert state.history is not None
            assert state.history.dry_penalties() == pytest.approx(dry_penalties(tokens, params))


def test_dry_lowers_the_logits(engine: str, logits: Row) -> None:
    tokens = [5, 6, 7, 8, 1, 5, 6, 7]
    state = make_state(params_with(dry_multiplier=0.8, dry_base=2.0), tokens[:3], tokens[3:])
    actual = edited_logits(engine, logits[-1:], [state])[0]
    expected = logits[-1].copy()
    expected[8] -= np.float32(0.8 * 2.0 ** (3 - 2))
    np.testing.assert_array_equal(actual, expected)


def test_dry_stays_finite_in_an_endless_repetition(engine: str) -> None:
    state = make_state(params_with(dry_multiplier=1.0), [1] * 5000, [1] * 3)
    assert np.isfinite(edited_logits(engine, np.zeros((1, 4), np.float32), [state])).all()


FILTERS: list[dict[str, Any]] = [
    {"min_p": 0.05},
    {"min_p": 1.0},
    {"min_p": 1e-9, "temperature": 2.0},
    {"typical_p": 0.2},
    {"typical_p": 0.9, "temperature": 0.7},
    {"typical_p": 0.999},
    {"top_k": 40, "min_p": 0.02, "typical_p": 0.95, "top_p": 0.9, "temperature": 1.3},
    {"top_p": 0.8, "min_p": 0.01},
    {"top_p": 0.99, "min_p": 1e-6, "temperature": 3.0},
]


def warped(row: Row, settings: dict[str, Any]) -> torch.Tensor:
    """Return the probabilities (V,) after transformers' warpers in the documented order.

    In float64: sums of a whole vocabulary in float32 are not exact enough to tell which token is the last.
    """
    warpers = {
        "temperature": TemperatureLogitsWarper,
        "top_k": TopKLogitsWarper,
        "typical_p": TypicalLogitsWarper,
        "top_p": TopPLogitsWarper,
        "min_p": MinPLogitsWarper,
    }
    used = [make(settings[name]) for name, make in warpers.items() if name in settings]
    no_ids: Any = torch.zeros(1, 1, dtype=torch.long)
    scores: Any = torch.from_numpy(row).double()[None]
    scores = LogitsProcessorList(used)(no_ids, scores)
    probabilities: torch.Tensor = scores[0].softmax(-1)
    return probabilities


@pytest.mark.parametrize("settings", FILTERS, ids=str)
def test_filters_leave_the_candidates_of_transformers(
    engine: str, logits: Row, settings: dict[str, Any]
) -> None:
    for row in logits[::3]:
        actual = filtered_probabilities(engine, row, SamplingParams(**settings))
        np.testing.assert_allclose(actual, warped(row, settings).numpy(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("threshold", [0.001, 0.05, 0.3, 0.5])
@pytest.mark.parametrize("settings", [{}, {"top_k": 20}, {"min_p": 0.1}], ids=str)
def test_xtc_excludes_what_its_definition_excludes(
    engine: str, logits: Row, threshold: float, settings: dict[str, Any]
) -> None:
    params = SamplingParams(xtc_probability=1.0, xtc_threshold=threshold, **settings)
    for row in logits[::3]:
        expected = xtc_probabilities(warped(row, settings).numpy(), threshold)
        actual = filtered_probabilities(engine, row, params, xtc=True)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(
            filtered_probabilities(engine, row, params), warped(row, settings), rtol=1e-4, atol=1e-9
        )


def test_xtc_applies_with_its_probability_and_draws_nothing_if_disabled(engine: str) -> None:
    row = np.log(np.array([[0.6, 0.3, 0.1]], np.float32))
    state = make_state(params_with(xtc_probability=0.25, xtc_threshold=0.2))
    drawn = [sample(engine, row, [state])[0] for _ in range(2000)]
    assert drawn.count(0) / 2000 == pytest.approx(0.75 * 0.6, abs=0.03)
    plain, disabled = make_state(params_with()), make_state(params_with(xtc_threshold=0.2))
    assert [sample(engine, row, [plain]) for _ in range(20)] == [
        sample(engine, row, [disabled]) for _ in range(20)
    ]


def test_processors_see_the_tokens_and_the_logits(engine: str, logits: Row) -> None:
    seen: list[list[int]] = []

    def only_seven(token_ids: list[int], row: Any) -> Any:
        seen.append(token_ids)
        assert float(row[3]) == -np.inf  # bad words come before
        row[:] = -np.inf
        row[7] = 1.0
        return row

    def double(_: list[int], row: Any) -> Any:
        return row * 2

    state = make_state(params_with(logits_processor=[only_seven, double], bad_words=[[3]]), [5, 6], [8])
    actual = edited_logits(engine, logits[-1:], [state])[0]
    assert (seen, actual[7], np.isfinite(actual).sum()) == ([[5, 6, 8]], 2.0, 1)


@pytest.mark.parametrize("size", [3, (1, 4)])
def test_a_processor_that_returns_another_shape_is_named(engine: str, size: Any) -> None:
    state = make_state(params_with(logits_processor=lambda _, __: np.zeros(size, np.float32)))
    with pytest.raises(InvalidArgument, match=r"logits_processor.*\(4,\)"):
        sample(engine, np.zeros((1, 4), np.float32), [state])


@pytest.mark.parametrize(
    "settings",
    [
        {"allowed_token_ids": [1], "bad_words": [[1]]},
        {"logits_processor": lambda _, row: row * np.nan},
        {"allowed_token_ids": [2], "min_tokens": 1, "temperature": 0},
    ],
)
def test_parameters_that_exclude_every_token_are_an_error(engine: str, settings: dict[str, Any]) -> None:
    states = [make_state(params_with()), make_state(params_with(**settings), stops=[2])]
    logits = np.zeros((2, 4), np.float32)
    with pytest.raises(AllTokensExcluded, match="allowed_token_ids"):
        sample(engine, logits, states)
    np.testing.assert_array_equal(logits, 0.0)


def test_the_likeliest_of_equal_logits_is_the_lowest_id(engine: str) -> None:
    for size in (5, 300, 3000, 20_000):
        logits = np.zeros((1, size), np.float32)
        logits[0, size // 2 :] = 1.0
        for settings in (
            {"temperature": 0},
            {"top_p": 1e-9},
            {"min_p": 1.0, "top_k": 1},
            {"top_k": 3},
            {"top_p": 2.5 / (size - size // 2), "temperature": 0.05},
            {"min_p": 0.5, "top_k": 3},
        ):
            state = make_state(params_with(**settings))
            drawn = {sample(engine, logits, [state])[0] - size // 2 for _ in range(60)}
            assert drawn in ({0}, {0, 1, 2}), settings


def test_rows_are_changed_independently(engine: str, logits: Row, ids: list[int]) -> None:
    params = [
        params_with(),
        params_with(repetition_penalty=1.2, min_p=0.1),
        params_with(bad_words=[[int(logits[0].argmax())]], temperature=0),
        params_with(logit_bias={44: 100}, top_k=5),
        params_with(presence_penalty=1.5, dry_multiplier=1.0, typical_p=0.9),
    ]
    together = [make_state(one, ids[:3], ids[3:]) for one in params]
    alone = [make_state(one, ids[:3], ids[3:]) for one in params]
    rows = logits[[0] * len(params)]
    assert sample(engine, rows, together) == [
        sample(engine, row[None], [state])[0] for row, state in zip(rows, alone, strict=True)
    ]
