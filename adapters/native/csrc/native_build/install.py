"""Builds the library while litgpt is installed, which succeeds without it."""

import sys
from pathlib import Path

from native_build.compiler import find_compiler, is_wanted
from native_build.shared_library import BuildFailed, build
from native_build.target import TARGET
from native_build.units import SOURCES

OBJECTS = SOURCES.parents[2] / "build" / "native"
REASON = "_native.missing"
"""A file in place of the library, with the reason: pip shows the output of a build only when it fails."""


def build_if_possible(into: Path) -> Path:
    """Build the library in a folder; return its path, or that of a file with the reason why it is missing."""
    reason = into / REASON
    try:
        library = _build(into)
    except BuildFailed as error:
        (into / TARGET.file_name).unlink(missing_ok=True)
        summary, *output = str(error).split("\n", 1)
        into.mkdir(parents=True, exist_ok=True)
        reason.write_text(summary, encoding="utf-8")
        sys.stderr.write("\n".join([*output, f"litgpt is installed without the native engine: {summary}\n"]))
        return reason
    reason.unlink(missing_ok=True)
    return library


def _build(into: Path) -> Path:
    if not is_wanted():
        raise BuildFailed("LITGPT_NATIVE was 0.")
    compiler = find_compiler()
    if compiler is None:
        raise BuildFailed(
            "No C++ compiler was found: $CXX, c++, g++, clang++, or the Python package ziglang."
        )
    return build(into, compiler, OBJECTS)
