"""Tests of the set of ids, compared with Python's."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litgpt.application.files.id_set import IdSet

NAMES = st.one_of(
    st.integers(),
    st.integers(0, 40),
    st.integers(0, 3000).map("line-{}".format),
    st.sampled_from(["line-", "line-0", "line-01", "line-1", "1", "line-\u0661", "line-1\n", "line- 1", ""]),
    st.text(),
)


@given(st.lists(NAMES, max_size=200), st.lists(NAMES))
def test_it_has_what_was_added(names: list[str | int], others: list[str | int]) -> None:
    some, expected = IdSet(), set[str | int]()
    for name in names:
        assert some.add(name) == (name not in expected)
        expected.add(name)
    assert len(some) == len(expected)
    assert all((name in some) == (name in expected) for name in names + others)


@pytest.mark.parametrize(
    ("name", "most"), [("line-{}", 1), ("{}", 32), ("request-of-a-user-with-a-long-name-{:09}", 32)]
)
def test_ids_need_little_memory(name: str, most: int) -> None:
    tracemalloc.start()
    some = IdSet()
    for number in range(1, 100_001):
        assert some.add(name.format(number))
    needed, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert needed < most * 100_000
    assert all(name.format(number) in some for number in range(1, 100_001))
