"""Tests of parsing Google-style docstrings."""

import pytest

from litgpt.domain.chat.google_docstring import Docstring, parse_docstring


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("Do.", Docstring("Do.", {}, None)),
        ("", Docstring("", {}, None)),
        ("Do.\nMore: of it.\n\nAnd more.", Docstring("Do.\nMore: of it.\n\nAnd more.", {}, None)),
        (
            "Do.\n\nArgs:\n    x: X: the first.\n        y: not one.",
            Docstring("Do.", {"x": "X: the first. y: not one."}, None),
        ),
        (
            "Do.\n\nArgs:\n    x (int, optional):\n        X.\n\n    y: Y.",
            Docstring("Do.", {"x": "X.", "y": "Y."}, None),
        ),
        (
            "Do.\n\nReturns:\n    All\n    of it.\n\nRaises:\n    x: No.",
            Docstring("Do.", {}, "All\n    of it."),
        ),
        ("Do.\n\nReturns: It.\n\nArgs:\n    x: X.", Docstring("Do.", {"x": "X."}, None)),
    ],
)
def test_a_docstring_is_split_into_its_parts(doc: str, expected: Docstring) -> None:
    assert parse_docstring(doc) == expected
