"""Tests of the JSON schemas of Python functions, against transformers'."""

import enum
from collections.abc import Callable
from typing import Any, Dict, List, Literal, Optional, Tuple, Union  # noqa: UP035 - users write these

import pytest
from transformers.utils.chat_template_utils import get_json_schema

from litgpt.domain.chat.tool_schemas import function_schema, parse_tools
from litgpt.domain.errors import InvalidArgument, WrongType


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = 0


def plain(x: float, y: int, name: str, flag: bool) -> float:  # noqa: FBT001
    """Add numbers.

    Args:
        x: The first.
        y: The second,
            described in two lines.
        name (str): What to call it: a name.
        flag (bool, optional): Whether.
    """
    return x + y if flag and name else 0


def optional(place: str, days: int | None = None, unit: Optional[Unit] = None) -> dict[str, float]:  # noqa: UP045
    """
    Forecast the weather.

    It may be wrong.

    Args:
        place: Where, as "city, country".

        days: How many.
        unit: Of temperatures.

    Returns:
        Temperatures,
        by day.

    Raises:
        ValueError: Never.
    """
    return {place: days or 0, str(unit): 0}


def containers(
    a: list,  # type: ignore[type-arg]
    b: list[int],
    c: List[str],  # noqa: UP006
    d: dict,  # type: ignore[type-arg]
    e: dict[str, int],
    f: Dict[str, Any],  # noqa: UP006
    g: tuple[int, str],
    h: Tuple,  # type: ignore[type-arg] # noqa: UP006
) -> None:
    """Nest.

    Args:
        a: A.
        b: B.
        c: C.
        d: D.
        e: E.
        f: F.
        g: G.
        h: H.
    """


def choices(
    drink: str,
    size: Literal["small", "large"] = "small",
    number: Literal[1, "two", None] = None,  # noqa: PYI061
    either: int | str = 0,
    or_list: Union[list[int], str, None] = None,  # noqa: UP007
    anything: Any = None,
    same: Union[list, tuple] = (),  # type: ignore[type-arg] # noqa: UP007
) -> "str":
    """Order a drink (choices: many).

    Args:
        drink: What to drink (choices: ["tea ", "coffee", 3])
        size: How much (Choices: ["small"])
        number: How many.
        either: Either.
        or_list: One or more.
        anything: More.
        same: The same.
    """
    return f"{drink}{size}{number}{either}{or_list}{anything}{same}"


def bare() -> object:
    """Do something."""


class Shop:
    def sell(self, what: str, *more: int, **rest: str) -> Optional[int]:  # noqa: UP045
        """Sell something.

        Args:
            what: What.
            more: More.
            rest: The rest.

        Returns:
            The price.
        """


@pytest.mark.parametrize("function", [plain, optional, containers, choices, bare, Shop().sell, Shop.sell])
def test_a_function_becomes_the_schema_that_transformers_makes_of_it(function: Callable[..., Any]) -> None:
    actual, reference = function_schema(function), get_json_schema(function)
    assert actual == reference
    assert str(actual) == str(reference)  # templates write the keys in their order


def undocumented(x: int) -> int:
    return x


def without_hint(x) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Do.

    Args:
        x: X.
    """
    return int(x)


def not_described(x: int) -> int:
    """Do."""
    return x


def of_a_class(x: Shop) -> Shop:
    """Do.

    Args:
        x: X.
    """
    return x


def of_any_length(x: tuple[int, ...]) -> int:
    """Do.

    Args:
        x: X.
    """
    return x[0]


def unresolved(x: "Nowhere") -> int:  # type: ignore[name-defined]  # noqa: F821
    """Do.

    Args:
        x: X.
    """
    return int(x)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (undocumented, "docstring"),
        (without_hint, "type hint for the argument 'x'"),
        (not_described, "describes 'x'"),
        (of_a_class, "argument 'x' must be of a type that JSON has"),
        (of_any_length, "argument 'x' must be of a type that JSON has"),
        (unresolved, "Nowhere"),
    ],
)
def test_missing_parts_of_a_tool_function_are_named(function: Callable[..., Any], reason: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - transformers refuses it, too, with errors of any type
        get_json_schema(function)
    with pytest.raises(InvalidArgument, match=reason) as caught:
        parse_tools([plain, function])
    assert "tools[1]" in str(caught.value)


def test_schemas_are_passed_on_as_they_are_and_copied() -> None:
    function: dict[str, Any] = {"name": "f", "parameters": {"enum": (1, None)}, "strict": True}
    actual = parse_tools([{"type": "function", "function": function}])
    function["name"] = "changed"
    expected = {"name": "f", "parameters": {"enum": [1, None]}, "strict": True}
    assert actual == ({"type": "function", "function": expected},)
    assert parse_tools(None) is None
    assert parse_tools([]) == ()


@pytest.mark.parametrize(
    "tools", ["tools.json", plain, {"name": "f"}, ["f"], [3], [Shop], [{}], [{"f": plain}], 3]
)
def test_an_invalid_list_of_tools_is_refused(tools: object) -> None:
    with pytest.raises(WrongType, match="tools"):
        parse_tools(tools)
