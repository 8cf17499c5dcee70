"""Special tokens in a text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litgpt.adapters.text.marks import Marks

MARKS = Marks({"<s>": 1, "<s>>": 2, "[INST]": 3, "^": 4, "<": 5})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("plain", ["plain"]),
        ("<s>a<s>", [1, "a", 1]),
        ("<s>>>", [2, ">"]),
        ("<<s>", [5, 1]),
        ("a[INST]^[INS", ["a", 3, 4, "[INS"]),
    ],
)
def test_the_leftmost_and_longest_wins(text: str, parts: list[str | int]) -> None:
    assert list(MARKS.split(text)) == parts


def test_without_special_tokens_a_text_is_one_part() -> None:
    assert list(Marks({}).split("<s>")) == ["<s>"]


@given(text=st.text("<s>[INT]^"))
def test_it_finds_what_a_pattern_of_them_all_finds(text: str) -> None:
    longest_first = sorted(MARKS.ids, key=len, reverse=True)
    found = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
    assert list(MARKS.split(text)) == [MARKS.ids.get(part, part) for part in found if part]
