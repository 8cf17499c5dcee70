"""Tests of the wheels for other platforms: what is checked, and that the one for this platform runs."""

import os
import platform
import struct
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from litgpt.adapters.native.library import LIBRARY
from native_build.target import WHEELS
from native_build.wheel_check import Binary, problems, read_binary
from native_build.wheels import build_wheel

LINUX, MAC, WINDOWS = "manylinux_2_17_aarch64", "macosx_11_0_arm64", "win_amd64"
LOAD = "from litgpt.adapters.native import library; print(library.LIBRARY, library.instruction_set())"


def elf(machine: int = 183, versions: bytes = b"\0GLIBC_2.17\0GLIBC_2.4\0") -> bytes:
    return b"\x7fELF\x02\x01".ljust(18, b"\0") + struct.pack("<H", machine) + versions


def mach_o(machine: int = 0x0100000C, oldest: tuple[int, int] = (11, 0)) -> bytes:
    header = struct.pack("<8I", 0xFEEDFACF, machine, 0, 6, 2, 40, 0, 0)
    other = struct.pack("<4I", 0x1B, 16, 0, 0)
    return header + other + struct.pack("<6I", 0x32, 24, 1, oldest[0] << 16 | oldest[1] << 8, 0, 0)


def pe(machine: int = 0x8664) -> bytes:
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I4sH", 0x40, b"PE\0\0", machine)


KERNELS = b"avx2\0avx512\0avx512vnni\0amx\0neon\0"


def wheel(
    folder: Path, tag: str, library: bytes | None, *more: str, claimed: str = "", kernels: bytes = KERNELS
) -> Path:
    path = folder / f"litgpt-1.0-py3-none-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "litgpt-1.0.dist-info/WHEEL", f"Root-Is-Purelib: false\nTag: py3-none-{claimed or tag}\n"
        )
        if library is not None:
            archive.writestr(f"litgpt/adapters/native/lib/{WHEELS[tag].file_name}", library + kernels)
        for other in ("litgpt/llm.py", "litgpt/py.typed", "litgpt/domain/catalogue.json", *more):
            archive.writestr(other, "")
    return path


@pytest.mark.parametrize(("tag", "library"), [(LINUX, elf()), (MAC, mach_o()), (WINDOWS, pe())])
def test_a_wheel_as_it_should_be(tmp_path: Path, tag: str, library: bytes) -> None:
    assert problems(wheel(tmp_path, tag, library)) == []


@pytest.mark.parametrize(
    ("tag", "library", "problem"),
    [
        (LINUX, elf(62), "is for linux on x86_64"),
        (LINUX, mach_o(), "is for darwin on aarch64"),
        (LINUX, elf(versions=b"\0GLIBC_2.9\0GLIBC_2.28\0"), "needs version 2.28, newer than in the tag"),
        (LINUX, elf() + b"libstdc++.so.6", "needs libstdc++"),
        (LINUX, elf(40), "is not a shared library"),
        (LINUX, b"", "is not a shared library"),
        (LINUX, None, "_native.so is missing"),
        (MAC, mach_o(0x01000007), "is for darwin on x86_64"),
        (MAC, mach_o(oldest=(12, 3)), "needs version 12.3, newer than in the tag"),
        (WINDOWS, pe(0xAA64), "is not a shared library"),
    ],
)
def test_a_library_of_another_platform_is_found(
    tmp_path: Path, tag: str, library: bytes | None, problem: str
) -> None:
    (found,) = problems(wheel(tmp_path, tag, library))
    assert problem in found


@pytest.mark.parametrize(
    "name",
    [
        "litgpt/adapters/native/csrc/api.h",
        "litgpt/adapters/native/lib/_native.dll",
        "tests/a.py",
        "litgpt/a.o",
    ],
)
def test_an_unexpected_file_is_found(tmp_path: Path, name: str) -> None:
    assert problems(wheel(tmp_path, LINUX, elf(), name)) == [f"unexpected file {name}"]


def test_missing_kernels_are_found(tmp_path: Path) -> None:
    (found,) = problems(wheel(tmp_path, WINDOWS, pe(), kernels=b"avx2\0avx512vnni\0amx\0"))
    assert found.endswith("does not have the kernels avx512")


def test_another_tag_inside_the_wheel_is_found(tmp_path: Path) -> None:
    (found,) = problems(wheel(tmp_path, LINUX, elf(), claimed="any"))
    assert found.endswith("does not have the tag of its name")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the library of this system")
def test_the_library_of_this_platform_is_read() -> None:
    found = read_binary(LIBRARY.read_bytes())
    assert (found.system, found.machine) == ("linux", platform.machine())
    assert found.oldest >= (2, 4)
    assert read_binary(pe()) == Binary("win32", "x86_64")


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a wheel for Linux with glibc")
@pytest.mark.skipif(find_spec("ziglang") is None, reason="pip install ziglang")
def test_the_wheel_for_this_platform_runs_in_another_environment(tmp_path: Path) -> None:
    built = build_wheel(f"manylinux_2_17_{platform.machine()}", tmp_path / "dist")
    assert problems(built) == []
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = tmp_path / "venv" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # The dependencies are those of this environment. Its editable installation of litgpt is not among them:
    # Python ignores the .pth files of a folder that is listed in one.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [python, *arguments], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "pip", "install", "--no-deps", "--no-index", built)
    assert run("-c", LOAD).startswith(str(site))
    answer = run(
        site.parents[2] / "bin" / "litgpt",
        "generate",
        "smollm2",
        "What is the capital of France?",
        "--top-k",
        "1",
        "--engine",
        "native",
        "--offline",
    )
    assert "Paris" in answer
