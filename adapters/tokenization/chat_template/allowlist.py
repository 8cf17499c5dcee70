"""Allowlist of Jinja filters, Jinja tests and Python methods for chat templates.

Filters and tests are grouped by the data that they traverse, which determines their cost.
"""

from collections.abc import Mapping


def _names(written: str) -> frozenset[str]:
    return frozenset(written.split())


FREE_FILTERS = _names("attr count d default first last length")
"""Filters with constant cost."""

ELEMENTWISE_FILTERS = _names("batch items list map reject rejectattr reverse select selectattr slice")
"""Filters that traverse the items of a list, but not their contents."""

TEXT_FILTERS = _names(
    "abs capitalize dictsort e escape float format groupby indent int join lower max min replace round "
    "safe sort string title trim unique upper"
)
"""Filters that traverse a value recursively."""

GROWING_FILTERS = _names("format indent join replace round title trim")
"""Filters of `TEXT_FILTERS` whose result can be larger than their input."""

TYPE_TESTS = _names(
    "boolean callable defined escaped false filter float integer iterable mapping none number sameas "
    "sequence string test true undefined"
)
"""Tests with constant cost."""

COMPARISON_TESTS = _names(
    "!= < <= == > >= divisibleby eq equalto even ge greaterthan gt in le lessthan lower lt ne odd upper"
)
"""Tests that traverse a value recursively."""

ALLOWED_METHODS: Mapping[type, frozenset[str]] = {
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

QUADRATIC_METHODS = _names("lstrip rfind rindex rpartition rsplit rstrip strip")
"""Methods whose time is the product of both strings' lengths."""
