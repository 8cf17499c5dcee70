import decimal
import fractions
import math
from typing import Any

import pytest

from litgpt.domain.errors import CorruptFile, InvalidArgument, WrongType
from litgpt.domain.generation.sampling_params import SamplingParams, model_sampling_params


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", 0),
        ("top_k", -1),
        ("top_p", -0.1),
        ("top_p", 1.1),
        ("top_p", math.nextafter(1, 2)),
        ("top_p", float("nan")),
        ("temperature", decimal.Decimal("NaN")),
        ("temperature", float("-inf")),
        ("seed", -1),
    ],
)
def test_invalid_values_are_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=setting) as caught:
        SamplingParams(**{setting: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", "hot"),
        ("temperature", "0.5"),
        ("temperature", True),
        ("temperature", 1j),
        ("temperature", [0.5]),
        ("top_k", 2.5),
        ("top_k", True),
        ("top_k", "3"),
        ("top_p", None),
        ("top_p", False),
        ("seed", "x"),
        ("seed", True),
        ("seed", 1.0),
    ],
)
def test_a_wrong_type_is_a_type_error_and_a_value_error(setting: str, value: Any) -> None:
    with pytest.raises(WrongType, match=setting) as caught:
        SamplingParams(**{setting: value})
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"top_p": 0}, {"top_k": 1}])
def test_settings_that_leave_one_token_are_greedy(settings: dict[str, Any]) -> None:
    assert SamplingParams(**settings).greedy
    assert not SamplingParams().greedy


def test_numbers_of_other_types_become_pythons_own() -> None:
    numbers: dict[str, Any] = {"temperature": decimal.Decimal("0.5"), "top_p": fractions.Fraction(1, 4)}
    sampling = SamplingParams(**numbers)
    assert (sampling.temperature, sampling.top_p) == (0.5, 0.25)
    assert {
        type(sampling.temperature),
        type(sampling.top_p),
        type(SamplingParams(temperature=1).temperature),
    } == {float}


def test_a_temperature_next_to_zero_is_greedy() -> None:
    assert [SamplingParams(temperature=value).greedy for value in (5e-324, 1e-8, 1e-5, 1e308)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_beyond_float_range_is_refused(digits: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        SamplingParams(temperature=10**digits)
    assert "temperature must be a finite number" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, SamplingParams(temperature=0.8, top_k=50)),
        (
            {"eos_token_id": 2, "repetition_penalty": 1.1},
            SamplingParams(temperature=0.8, top_k=50, repetition_penalty=1.1),
        ),
        ({"do_sample": False, "min_p": 0.1}, SamplingParams(temperature=0, min_p=0.1)),
        (
            {"min_p": 0.05, "typical_p": 0.9, "top_p": 0.8},
            SamplingParams(top_k=50, top_p=0.8, min_p=0.05, typical_p=0.9),
        ),
        ({"temperature": 0.6, "top_p": 0.9}, SamplingParams(temperature=0.6, top_k=50, top_p=0.9)),
        ({"do_sample": True}, SamplingParams(temperature=1.0, top_k=50)),
        ({"do_sample": True, "temperature": None, "top_k": 64}, SamplingParams(top_k=64)),
        ({"top_k": 0, "temperature": 1}, SamplingParams(temperature=1.0)),
        ({"top_k": -1}, SamplingParams()),
        ({"do_sample": False, "temperature": 0.7}, SamplingParams(temperature=0)),
        ({"do_sample": None, "temperature": 0}, SamplingParams(temperature=0, top_k=50)),
    ],
)
def test_the_models_generation_config_sets_the_sampling(
    config: dict[str, object], expected: SamplingParams
) -> None:
    assert model_sampling_params(config) == expected


@pytest.mark.parametrize(
    "config",
    [{"temperature": "hot"}, {"temperature": -1}, {"top_p": 1.5}, {"top_k": 2.5}, {"top_k": [50]}],
)
def test_sampling_settings_that_cannot_be_used_are_named_with_their_file(config: dict[str, object]) -> None:
    with pytest.raises(CorruptFile, match=r"generation_config\.json.*" + next(iter(config))):
        model_sampling_params(config)
