"""Builds the library while litgpt is installed, which succeeds without it."""

import os
import sys
from pathlib import Path

from native_build.compiler import find_compiler
from native_build.shared_library import BuildFailed, build
from native_build.units import SOURCES

OBJECTS = SOURCES.parents[2] / "build" / "native"
NO_COMPILER = (
    "litgpt: the native engine was not built, because no C++ compiler works here ($CXX, c++, g++, clang++, "
    "or the package ziglang). All models run in torch."
)


def is_wanted() -> bool:
    return os.environ.get("LITGPT_NATIVE", "1") != "0"


def build_if_possible(into: Path) -> Path | None:
    """Build the library in a folder; return None, after a line that says why, if it cannot be built."""
    if not is_wanted():
        sys.stderr.write("litgpt: the native engine is not built, because LITGPT_NATIVE is 0.\n")
        return None
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write(f"{NO_COMPILER}\n")
        return None
    try:
        return build(into, compiler, OBJECTS)
    except BuildFailed as error:
        sys.stderr.write(
            f"{error}\nlitgpt: the native engine was not built, because it does not compile here.\n"
        )
        return None
