import decimal
import fractions
import math
from typing import Any

import pytest

from litgpt.domain.errors import BadArgument, DamagedFile, WrongType
from litgpt.domain.sampling import Sampling, sampling_of


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
def test_what_cannot_be_right_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(BadArgument, match=setting) as caught:
        Sampling(**{setting: value})
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
        Sampling(**{setting: value})
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"top_p": 0}, {"top_k": 1}])
def test_settings_that_leave_one_token_are_greedy(settings: dict[str, Any]) -> None:
    assert Sampling(**settings).greedy
    assert not Sampling().greedy


def test_numbers_of_other_types_become_pythons_own() -> None:
    numbers: dict[str, Any] = {"temperature": decimal.Decimal("0.5"), "top_p": fractions.Fraction(1, 4)}
    sampling = Sampling(**numbers)
    assert (sampling.temperature, sampling.top_p) == (0.5, 0.25)
    assert {type(sampling.temperature), type(sampling.top_p), type(Sampling(temperature=1).temperature)} == {
        float
    }


def test_a_temperature_next_to_zero_is_greedy() -> None:
    assert [Sampling(temperature=one).greedy for one in (5e-324, 1e-8, 1e-5, 1e308)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_that_no_float_holds_is_refused_with_a_message(digits: int) -> None:
    with pytest.raises(BadArgument) as caught:
        Sampling(temperature=10**digits)
    assert "temperature must be a finite number" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, Sampling(temperature=0.8, top_k=50)),
        ({"eos_token_id": 2, "repetition_penalty": 1.1}, Sampling(temperature=0.8, top_k=50)),
        ({"temperature": 0.6, "top_p": 0.9}, Sampling(temperature=0.6, top_k=50, top_p=0.9)),
        ({"do_sample": True}, Sampling(temperature=1.0, top_k=50)),
        ({"do_sample": True, "temperature": None, "top_k": 64}, Sampling(top_k=64)),
        ({"top_k": 0, "temperature": 1}, Sampling(temperature=1.0)),
        ({"top_k": -1}, Sampling()),
        ({"do_sample": False, "temperature": 0.7}, Sampling(temperature=0)),
        ({"do_sample": None, "temperature": 0}, Sampling(temperature=0, top_k=50)),
    ],
)
def test_a_model_says_how_its_answers_are_drawn(config: dict[str, object], expected: Sampling) -> None:
    assert sampling_of(config) == expected


@pytest.mark.parametrize(
    "config",
    [{"temperature": "hot"}, {"temperature": -1}, {"top_p": 1.5}, {"top_k": 2.5}, {"top_k": [50]}],
)
def test_sampling_settings_that_cannot_be_used_are_named_with_their_file(config: dict[str, object]) -> None:
    with pytest.raises(DamagedFile, match=r"generation_config\.json.*" + next(iter(config))):
        sampling_of(config)
