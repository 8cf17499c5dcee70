"""Tests of classes as JSON schemas."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import attrs
import pytest

from litgpt.domain.constraints.record_types import build, record_schema
from litgpt.domain.errors import InvalidArgument


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Point:
    x: int
    _y: float = 0.0


@dataclass
class Drawing:
    points: list[Point]
    color: Color | None
    corner: tuple[int, str]
    path: tuple[float, ...]
    kind: Literal["line", 3]
    either: Point | str
    scale: float = 1.0
    names: dict[str, Point] = field(default_factory=dict)
    anything: Any = None
    count: int = field(default=0, init=False)


POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "_y": {"type": "number"}},
    "required": ["x"],
    "additionalProperties": False,
}


def test_a_class_is_a_schema() -> None:
    assert record_schema(Drawing) == {
        "type": "object",
        "properties": {
            "points": {"type": "array", "items": POINT},
            "color": {"anyOf": [{"enum": ["red", "blue"]}, {"type": "null"}]},
            "corner": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "items": False,
                "minItems": 2,
            },
            "path": {"type": "array", "items": {"type": "number"}},
            "kind": {"enum": ["line", 3]},
            "either": {"anyOf": [POINT, {"type": "string"}]},
            "scale": {"type": "number"},
            "names": {"type": "object", "additionalProperties": POINT},
            "anything": {},
        },
        "required": ["points", "color", "corner", "path", "kind", "either"],
        "additionalProperties": False,
    }


def test_a_value_is_an_object() -> None:
    value = {
        "points": [{"x": 1}, {"x": 2.0, "_y": 3}],
        "color": "red",
        "corner": [1, "a"],
        "path": [1, 2.5],
        "kind": 3,
        "either": {"x": 5},
        "names": {"a": {"x": 0}},
    }
    built = build(Drawing, value)
    assert built == Drawing(
        [Point(1), Point(2, 3.0)], Color.RED, (1, "a"), (1.0, 2.5), 3, Point(5), names={"a": Point(0)}
    )
    assert type(built.points[1].x) is int
    assert type(built.path[0]) is float
    assert build(Drawing, {**value, "color": None, "either": "text"}).color is None


@dataclass
class Node:
    children: "list[Node]"


@dataclass
class Holder:
    value: bytes


@dataclass
class Keys:
    value: dict[int, str]


@pytest.mark.parametrize("record", [Node, Holder, Keys])
def test_types_that_json_does_not_have_are_errors(record: type) -> None:
    with pytest.raises(InvalidArgument, match=f"{record.__name__}.(value|children) is not"):
        record_schema(record)
