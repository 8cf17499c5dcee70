"""Tests of special tokens in a text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litgpt.adapters.tokenization.added_tokens import AddedToken
from litgpt.adapters.tokenization.special_tokens import SpecialTokenSplitter

BESIDE = SpecialTokenSplitter(
    {"<s>": 1, "<t>": 2, "word": 3},
    {
        "<s>": AddedToken("<s>", special=True, lstrip=True),
        "<t>": AddedToken("<t>", special=True, rstrip=True),
        "word": AddedToken("word", special=False, single_word=True),
    },
)
MARKS = SpecialTokenSplitter({"<s>": 1, "<s>>": 2, "[INST]": 3, "^": 4, "<": 5})


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
    assert list(SpecialTokenSplitter({}).split("<s>")) == ["<s>"]


@given(text=st.text("<s>[INT]^"))
def test_it_splits_like_a_pattern_of_all_tokens(text: str) -> None:
    longest_first = sorted(MARKS.ids, key=len, reverse=True)
    parts = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
    assert list(MARKS.split(text)) == [MARKS.ids.get(part, part) for part in parts if part]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a \n<s> b", ["a", 1, " b"]),
        ("a <t> \n b", ["a ", 2, "b"]),
        ("<t>  <s>  <s>", [2, 1, 1]),
        (" <s>", [1]),
        ("word", [3]),
        ("a word.word words sword wordword", ["a ", 3, ".", 3, " words sword wordword"]),
    ],
)
def test_added_tokens_strip_spaces_and_match_single_words(text: str, expected: list[str | int]) -> None:
    assert list(BESIDE.split(text)) == expected
