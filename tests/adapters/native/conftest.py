"""The library of the native engine, built from the current sources."""

import pytest

from litgpt.adapters.native.library import LIBRARY
from native_build.compiler import find_compiler
from native_build.install import OBJECTS
from native_build.shared_library import build


@pytest.fixture(scope="session", autouse=True)
def native_library() -> None:
    """Build the library if it is missing or older than its sources, as `make test` does before."""
    compiler = find_compiler()
    if compiler is not None:
        build(LIBRARY.parent, compiler, OBJECTS)
