"""`python -m native_build.tidy` runs clang-tidy on each source file, with the flags it is compiled with."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from native_build.compiler import find_compiler
from native_build.units import SOURCES, Unit, units


def main() -> int:
    """Return 0 if clang-tidy has no findings."""
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write("clang-tidy needs the headers of a C++ compiler.\n")
        return 1
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        results = list(threads.map(_check, units(compiler, testing=True)))
    return max(results)


def _check(unit: Unit) -> int:
    tool = Path(sys.executable).with_name("clang-tidy")
    flags = (*unit.flags, f"-I{SOURCES}")
    command: list[str | Path] = [tool, "--quiet", *sys.argv[1:], unit.source, "--", *flags]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode != 0:
        sys.stdout.write(run.stdout + run.stderr)
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
