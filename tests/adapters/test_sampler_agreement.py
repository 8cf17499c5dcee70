"""Tests that the samplers of both engines draw the same tokens, and those of earlier versions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litgpt.adapters.native.sampling import sampler
from litgpt.adapters.pytorch.generation import sampler as torch_sampler
from litgpt.domain.generation.sampling_params import SamplingParams
from tests.adapters.sampling_references import ENGINES, Row, make_state, sample

VOCABULARIES = (1, 2, 7, 130, 3000)
TOKENS = st.integers(0, 6)

PARAMETERS = st.fixed_dictionaries(
    {"seed": st.integers(0, 2**32)},
    optional={
        "temperature": st.one_of(st.just(0.0), st.floats(0.05, 3)),
        "top_k": st.one_of(st.none(), st.integers(1, 60)),
        "top_p": st.one_of(st.just(1.0), st.floats(0, 1)),
        "min_p": st.floats(0, 1),
        "typical_p": st.floats(0.01, 1),
        "repetition_penalty": st.floats(0.5, 2),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "logit_bias": st.dictionaries(TOKENS, st.floats(-100, 100), max_size=3),
        "allowed_token_ids": st.one_of(st.none(), st.lists(TOKENS, min_size=4, max_size=7, unique=True)),
        "bad_words": st.lists(st.lists(TOKENS, min_size=1, max_size=2), max_size=2),
        "min_tokens": st.integers(0, 3),
        "dry_multiplier": st.floats(0, 2),
        "dry_breakers": st.lists(TOKENS, max_size=2),
        "xtc_probability": st.floats(0, 1),
        "xtc_threshold": st.floats(0, 0.5),
        "logits_processor": st.just(lambda token_ids, row: row + len(token_ids) % 3 * 0.5),
    },
)


def inside(options: dict[str, Any], vocabulary: int) -> SamplingParams:
    """Return sampling parameters whose token ids are in the vocabulary, which leave some tokens."""
    inside = dict(options)
    if vocabulary < 7:
        inside = {
            name: value
            for name, value in options.items()
            if name not in ("logit_bias", "allowed_token_ids", "bad_words")
        }
    return SamplingParams(**inside)


# The same examples each time: once in a million draws, the rounding of an exponential makes a difference.
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    options=st.lists(PARAMETERS, min_size=1, max_size=5),
    vocabulary=st.sampled_from(VOCABULARIES),
    seed=st.integers(0, 1000),
    coarse=st.booleans(),
)
def test_both_engines_draw_the_same_tokens(
    options: list[dict[str, Any]],
    vocabulary: int,
    seed: int,
    coarse: bool,  # noqa: FBT001 - from hypothesis
) -> None:
    random = np.random.default_rng(seed)
    params = [inside(one, vocabulary) for one in options]
    prompts = [random.integers(min(vocabulary, 7), size=6).tolist() for _ in params]
    native, expected = (
        [
            make_state(one, prompt, stops=[0] if vocabulary > 7 else [])
            for one, prompt in zip(params, prompts, strict=True)
        ]
        for _ in range(2)
    )
    for _ in range(4):
        logits = random.normal(size=(len(params), vocabulary)).astype(np.float32) * 3
        if coarse:
            logits = logits.round()  # many are equal
        tokens = sample("native", logits, native)
        assert tokens == sample("torch", logits, expected)
        for token, *states in zip(tokens, native, expected, strict=True):
            for state in states:
                state.append(token)


EARLIER = [
    ({}, [2419, 2782, 4588, 2202, 2428, 2956]),
    ({"top_k": 50}, [316, 1971, 712, 3027, 971, 2626]),
    ({"temperature": 0.7, "top_k": 50, "top_p": 0.9}, [2900, 198, 3461, 608, 4201, 1499]),
    ({"top_p": 0.95}, [2735, 2452, 698, 4800, 2744, 3107]),
    ({"temperature": 2.0, "top_p": 0.6}, [151, 4871, 4739, 2216, 4517, 523]),
    ({"temperature": 0}, [4357, 3593, 2829, 2065, 1301, 537]),
]
"""Parameters, and the tokens that versions with only these parameters drew for `earlier_logits`."""


def earlier_logits(step: int) -> Row:
    """Return distinct logits (1, 5003), which are the same on all machines."""
    order = (np.arange(5003) * 1789 + 977 * step) % 5003
    return (20 * (order / 5003) ** 8 - 10).astype(np.float32)[None]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("options", "tokens"), EARLIER, ids=str)
def test_earlier_parameters_draw_the_tokens_of_earlier_versions(
    engine: str, options: dict[str, Any], tokens: list[int]
) -> None:
    state = make_state(SamplingParams(seed=11, **options))
    assert [sample(engine, earlier_logits(step), [state])[0] for step in range(6)] == tokens


@pytest.mark.parametrize("engine", [sampler, torch_sampler], ids=ENGINES)
def test_the_likeliest_tokens_have_their_log_probabilities(engine: Any) -> None:
    import torch

    rows = np.log(np.array([[0.1, 0.2, 0.4, 0.2, 0.1], [1, 0, 0, 0, 0]], np.float32) + 1e-9)
    logits = torch.from_numpy(rows) if engine is torch_sampler else rows
    first, none = engine.top_log_probabilities(logits, [3, 0])
    assert none is None
    assert list(first) == [2, 1, 3]
    assert list(first.values()) == pytest.approx(np.log([0.4, 0.2, 0.2]), abs=1e-5)
    assert len(engine.top_log_probabilities(logits, [9, 1])[0]) == 5
    assert engine.top_log_probabilities(logits, [0, 0]) == [None, None]
