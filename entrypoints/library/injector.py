"""`dependency_injector`, imported without pydantic."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import active_count
from types import ModuleType


@contextmanager
def _without_pydantic() -> Iterator[None]:
    """Let an import find a pydantic of which it can only read the version.

    The import of providers reads it, and would load all of pydantic for that, in 0.1 s, wherever another
    program has installed it. Other threads may need the real one, so it is hidden from none of them.
    """
    if "pydantic" in sys.modules or active_count() > 1:
        yield
        return
    stub = ModuleType("pydantic")
    stub.VERSION = "2"  # type: ignore[attr-defined]
    sys.modules["pydantic"] = stub
    try:
        yield
    finally:
        del sys.modules["pydantic"]


with _without_pydantic():
    from dependency_injector import providers

__all__ = ["providers"]
