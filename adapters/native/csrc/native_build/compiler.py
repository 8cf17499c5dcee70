"""The C++ compiler: `$CXX`, the one of the system, or clang of the PyPI package ziglang."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from native_build.target import TARGET, WHEEL_TAG

_TRIAL = """
#include <pthread.h>
#include <stdint.h>
extern "C" int64_t trial(const char* text) { return pthread_self() != pthread_t{} && text != nullptr; }
"""

# All systems and processors for which the package ziglang has wheels that this library was tried with.
_ZIG_SYSTEMS = ("linux", "darwin", "win32")
_ZIG_MACHINES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class Compiler:
    """A compiler driver that takes the options of GCC and clang."""

    command: tuple[str, ...]

    def run(self, arguments: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
        command = [*self.command, *map(str, arguments)]
        # The runtime of a sanitizer that is preloaded for tests is not for the compiler.
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        return subprocess.run(  # noqa: S603 - the compiler that the user chose
            command, capture_output=True, text=True, errors="replace", env=environment, check=False
        )

    def accepts(self, flags: Sequence[str] = ()) -> bool:
        """Whether it compiles with these flags, or, without any, also links a shared library.

        For Windows, ziglang compiles the C library for each set of flags with which something is linked.
        """
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "trial.cpp")
            source.write_text(_TRIAL, encoding="utf-8")
            result = Path(folder, "trial")
            options = ["-std=c++17", *flags, "-c" if flags else "-shared", *TARGET.compile_flags]
            arguments: list[str | Path] = [*options, source, "-o", result]
            try:
                return self.run(arguments).returncode == 0
            except OSError:
                return False

    @property
    def version(self) -> str:
        return self.run(["--version"]).stdout


def is_wanted() -> bool:
    return os.environ.get("LITGPT_NATIVE", "1") != "0"


@cache
def find_compiler() -> Compiler | None:
    """Return the first compiler that works; None if there is none."""
    return next((compiler for compiler in _candidates() if compiler.accepts()), None)


def _candidates() -> Iterator[Compiler]:
    if chosen := os.environ.get("CXX"):
        yield Compiler(tuple(shlex.split(chosen)))
        return
    for name in ("c++", "g++", "clang++") if WHEEL_TAG is None else ():
        if path := shutil.which(name):
            yield Compiler((path,))
    if find_spec("ziglang") is not None:
        yield Compiler(zig_command())


def zig_command() -> tuple[str, ...]:
    """Return the command of ziglang's clang, for the oldest processor of this kind.

    It is run as `cc`: as `c++` it would first compile its own C++ library, which is not used, for minutes.
    Without a target it would compile for the processor at hand.
    """
    return sys.executable, "-m", "ziglang", "cc", "-target", TARGET.triple


def missing_requirements() -> list[str]:
    """Return the packages to install before the build, because no other compiler works."""
    if not is_wanted() or os.environ.get("CXX") or find_compiler() is not None:
        return []
    return ["ziglang"] if TARGET.system in _ZIG_SYSTEMS and TARGET.machine in _ZIG_MACHINES else []
