"""Tests of the set of ids, compared with Python's."""

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litgpt.application.files.id_set import IdSet

NAMES = st.one_of(
    st.integers(),
    st.integers(0, 40),
    st.integers((1 << 24) - 3, (1 << 24) + 3),
    st.integers((1 << 24) - 3, (1 << 24) + 3).map("line-{}".format),
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
    ("name", "most"),
    [
        (lambda k: k, 1),
        (lambda k: 10**17 + k * 104729, 32),
        (lambda k: k * 163, 128),  # the sparsest that have pages
        ("line-{}".format, 1),
        (lambda k: f"line-{10**12 + k * 104729}", 32),
        (lambda k: f"{k}", 32),
        ("request-of-a-user-with-a-long-name-{:09}".format, 32),
    ],
)
def test_ids_need_little_memory(name: Callable[[int], str | int], most: int) -> None:
    tracemalloc.start()
    some = IdSet()
    for number in range(1, 100_001):
        assert some.add(name(number))
    needed, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert needed < most * 100_000
    assert all(name(number) in some for number in range(1, 100_001))
