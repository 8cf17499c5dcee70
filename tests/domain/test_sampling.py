from typing import Any

import pytest

from litgpt.domain.errors import BadArgument, WrongType
from litgpt.domain.sampling import Sampling


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
        ("seed", -1),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises(BadArgument, match=setting) as caught:
        Sampling(**{setting: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("temperature", "hot"), ("top_k", 2.5), ("top_k", True), ("top_p", None), ("seed", "x")],
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
