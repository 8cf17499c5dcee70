"""What a chat template may use of jinja and of Python.

What is not listed here is not there, so that whatever jinja or Python add tomorrow is not either. The filters
and tests are sorted by what they go through, which is what they cost.
"""

from collections.abc import Mapping


def _names(written: str) -> frozenset[str]:
    return frozenset(written.split())


PASSING = _names("attr count d default first last length")
"""Filters that go through nothing."""

BY_PARTS = _names("batch items list map reject rejectattr reverse select selectattr slice")
"""Filters that go through the parts of a list, and not through what is in those."""

BY_TEXT = _names(
    "abs capitalize dictsort e escape float format groupby indent int join lower max min replace round "
    "safe sort string title trim unique upper"
)
"""Filters that go through all that is in a value."""

GROWING = _names("format indent join replace round title trim")
"""Those of them that can make more than they are given."""

ASKING_FOR_A_TYPE = _names(
    "boolean callable defined escaped false filter float integer iterable mapping none number sameas "
    "sequence string test true undefined"
)
"""Tests that go through nothing."""

COMPARING = _names(
    "!= < <= == > >= divisibleby eq equalto even ge greaterthan gt in le lessthan lower lt ne odd upper"
)
"""Tests that go through all that is in a value."""

METHODS: Mapping[type, frozenset[str]] = {
    str: _names(
        "capitalize center count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric "
        "isspace istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace rfind "
        "rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title upper zfill"
    ),
    dict: _names("copy get items keys values"),
    list: _names("copy count index"),
    tuple: _names("count index"),
}
"""Methods, by whose they are. `str.format` is jinja's own business, and charged where it wraps that."""

QUADRATIC = _names("lstrip rfind rindex rpartition rsplit rstrip strip")
"""Methods that Python takes the product of both texts' lengths for."""
