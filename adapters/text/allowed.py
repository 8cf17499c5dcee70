"""Allowlist of Jinja filters, Jinja tests and Python methods for chat templates.

Filters and tests are grouped by the data that they traverse, which determines their cost.
"""

from collections.abc import Mapping


def _names(written: str) -> frozenset[str]:
    return frozenset(written.split())


PASSING = _names("attr count d default first last length")
"""Filters with constant cost."""

BY_PARTS = _names("batch items list map reject rejectattr reverse select selectattr slice")
"""Filters that traverse the items of a list, but not their contents."""

BY_TEXT = _names(
    "abs capitalize dictsort e escape float format groupby indent int join lower max min replace round "
    "safe sort string title trim unique upper"
)
"""Filters that traverse a value recursively."""

GROWING = _names("format indent join replace round title trim")
"""Filters of `BY_TEXT` whose result can be larger than their input."""

ASKING_FOR_A_TYPE = _names(
    "boolean callable defined escaped false filter float integer iterable mapping none number sameas "
    "sequence string test true undefined"
)
"""Tests with constant cost."""

COMPARING = _names(
    "!= < <= == > >= divisibleby eq equalto even ge greaterthan gt in le lessthan lower lt ne odd upper"
)
"""Tests that traverse a value recursively."""

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
"""Methods by type. `str.format` is handled by Jinja's sandbox and charged in its wrapper."""

QUADRATIC = _names("lstrip rfind rindex rpartition rsplit rstrip strip")
"""Methods whose time is the product of both strings' lengths."""
