"""Tests of the validators: one check per kind of value, with uniform messages."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.validators import flag, integer, is_integer, is_number, local_path, real


@pytest.mark.parametrize(
    ("least", "value", "message"),
    [
        (1, 0, "n must be a positive integer, not 0."),
        (0, -1, "n must be a non-negative integer, not -1."),
        (2, 1, "n must be an integer of at least 2, not 1."),
        (1, 10**400 * -1, "n must be a positive integer, not an integer of 1329 bits."),
    ],
)
def test_an_integer_that_is_too_small_is_refused(least: int, value: int, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        integer("n", value, least)
    assert not isinstance(caught.value, WrongType)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None, [1], Decimal(1)])
def test_a_non_integer_is_a_wrong_type(value: object) -> None:
    with pytest.raises(WrongType, match="n must be a positive integer, not "):
        integer("n", value, 1)


def test_numbers_of_other_libraries_become_pythons() -> None:
    for actual in (integer("n", np.int64(3), 1), real("x", np.float32(3))):
        assert actual == 3
        assert type(actual) in (int, float)
    assert [real("x", value) for value in (Fraction(1, 2), Decimal("0.5"))] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("bounds", "value", "message"),
    [
        ({}, -0.5, "x must be a finite number of at least 0, not -0.5."),
        ({}, float("nan"), "x must be a finite number of at least 0, not nan."),
        ({"least": 0.5}, 0.25, "x must be a finite number of at least 0.5, not 0.25."),
        ({"most": 1}, 1.5, "x must be a number from 0 to 1, not 1.5."),
        ({"below": 1, "more": " or None"}, 1.0, "x must be a number from 0 to below 1 or None, not 1.0."),
    ],
)
def test_a_number_out_of_bounds_is_refused(bounds: dict[str, Any], value: float, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        real("x", value, **bounds)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [True, "0.5", None, [0.5], np.array([1.0, 2.0])])
def test_a_non_number_is_a_wrong_type(value: object) -> None:
    with pytest.raises(WrongType, match="x must be a finite number of at least 0, not "):
        real("x", value)


def test_values_of_files_are_numbers_only_if_they_are_finite_and_no_booleans() -> None:
    assert [is_integer(value, 1) for value in (1, 0, True, 1.0, "1")] == [True, False, False, False, False]
    assert is_integer(-5)
    values = (0, -1.5, True, float("nan"), float("inf"), 10**400, "1")
    assert [is_number(value) for value in values] == [True, True, False, False, False, False, False]


def test_a_flag_is_true_or_false() -> None:
    flag("on", value=True)
    flag("on", value=None, none=True)
    with pytest.raises(WrongType, match="on must be True or False, not int 1"):
        flag("on", value=1)
    with pytest.raises(WrongType, match="on must be True, False or None, not str 'yes'"):
        flag("on", value="yes", none=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "folder must be a path, not int 3"),
        ("a\0b", "folder must be a path without NUL characters"),
        ("s3://bucket/data.jsonl", "folder must be a local path; download the file first"),
        ("~nobody-of-this-name/x", "folder must be a path in the home of a user"),
        ("x" * 256, "folder must be a path of at most 4095 bytes, with names of at most 255"),
    ],
)
def test_a_path_that_no_file_can_have_is_refused(value: object, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        local_path("folder", value)


def test_a_path_is_expanded() -> None:
    assert local_path("folder", "~/x") == Path.home() / "x"
