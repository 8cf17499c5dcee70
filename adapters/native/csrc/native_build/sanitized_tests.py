"""`python -m native_build.sanitized_tests` runs the tests of the native engine with the sanitizers of GCC."""

import os
import subprocess
import sys
from collections.abc import Mapping

from native_build.compiler import Compiler, find_compiler

SANITIZERS = {"address,undefined": "libasan.so", "thread": "libtsan.so"}
"""The sanitizers of each run, and the runtime library, which must be loaded before all others."""

OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",  # Python itself frees little of its memory at exit
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:ignore_noninstrumented_modules=1:die_after_fork=0",
}
TESTS = (
    "tests/adapters/native",
    "--ignore=tests/adapters/native/test_installation.py",
    # Limits the address space of the process, of which the sanitizers themselves need more.
    "--deselect=tests/adapters/native/test_native_cache.py::test_a_failed_allocation_changes_nothing",
    "-n",
    "0",
    "-q",
)


def main() -> int:
    """Return 0 if all tests pass with all sanitizers. The library is built without them in the end."""
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write("The sanitizers need a C++ compiler.\n")
        return 1
    try:
        return max(_run(compiler, name, runtime) for name, runtime in SANITIZERS.items())
    finally:
        _python(["-m", "native_build"], os.environ)


def _run(compiler: Compiler, name: str, runtime: str) -> int:
    sys.stdout.write(f"Testing with -fsanitize={name} …\n")
    sys.stdout.flush()
    flags = f"-g -O1 -fno-omit-frame-pointer -fsanitize={name} -fno-sanitize-recover=all"
    environment = {**os.environ, **OPTIONS, "CXXFLAGS": flags}
    preloaded = compiler.run([f"-print-file-name={runtime}"]).stdout.strip()
    return _python(["-m", "native_build"], environment) or _python(
        ["-m", "pytest", *TESTS, *sys.argv[1:]], environment | {"LD_PRELOAD": preloaded}
    )


def _python(arguments: list[str], environment: Mapping[str, str]) -> int:
    return subprocess.run([sys.executable, *arguments], env=environment, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
