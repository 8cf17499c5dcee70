"""Tests of the binding: the structures are those of the C header, and a missing library is a clear error."""

import ctypes
import platform
import re
import sys
from pathlib import Path

import pytest

from litgpt.adapters.native import library, structures
from litgpt.domain.errors import InsufficientSpace, UnsupportedOperation
from native_build.compiler import find_compiler
from native_build.units import SOURCES

MIRRORED = {
    "litgpt_tensor": structures.Tensor,
    "litgpt_instruction": structures.Instruction,
    "litgpt_cache_shape": structures.CacheShape,
    "litgpt_program": structures.Program,
}
CONSTANTS = {
    **{f"litgpt::k{name.name}": name for name in structures.Format},
    **{f"litgpt::kSource{name.name}": name for name in structures.SourceFormat},
    "litgpt::kFormatCount": len(structures.Format),
    "litgpt::kSourceFormatCount": len(structures.SourceFormat),
    "LITGPT_API_VERSION": structures.API_VERSION,
}


def test_structures_and_constants_are_those_of_the_header(tmp_path: Path) -> None:
    compiler = find_compiler()
    assert compiler is not None
    lines = ["#include <stddef.h>", '#include "api.h"', '#include "weights/pack.h"']
    for name, structure in MIRRORED.items():
        lines.append(f'static_assert(sizeof({name}) == {ctypes.sizeof(structure)}, "size");')
        for field, *_ in structure._fields_:
            offset = getattr(structure, field).offset
            lines.append(f'static_assert(offsetof({name}, {field}) == {offset}, "{field}");')
            size = getattr(structure, field).size
            lines.append(f'static_assert(sizeof({name}::{field}) == {size}, "{field}");')
    lines += [f'static_assert({name} == {int(value)}, "value");' for name, value in CONSTANTS.items()]
    source = tmp_path / "mirror.cpp"
    source.write_text("\n".join([*lines, ""]), encoding="utf-8")
    arguments: list[str | Path] = ["-std=c++17", f"-I{SOURCES}", "-c", source, "-o", tmp_path / "mirror.o"]
    run = compiler.run(arguments)
    assert run.returncode == 0, run.stderr
    source.write_text("\n".join([*lines, "static_assert(sizeof(litgpt_tensor) == 1);", ""]), encoding="utf-8")
    assert compiler.run(arguments).returncode != 0


def test_every_function_of_the_header_is_declared() -> None:
    header = (SOURCES / "api.h").read_text(encoding="utf-8")
    names = set(re.findall(r"^LITGPT_API .*?(\w+)\(", header, re.MULTILINE))
    assert names == set(structures.SIGNATURES)


def test_the_library_loads() -> None:
    assert library.is_installed()
    loaded = library.load_library()
    assert loaded.litgpt_api_version() == structures.API_VERSION
    assert loaded.litgpt_threads() >= 1
    assert library.instruction_set() in {"portable", "avx2", "avx512", "avx512vnni", "amx", "neon"}


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="Linux on x86-64 only")
def test_the_instruction_set_is_the_best_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from /proc/cpuinfo, because the runtime library of a compiler may not know the processor."""
    monkeypatch.delenv("LITGPT_NATIVE_ISA", raising=False)
    flags = set(re.findall(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0].split())
    vnni = {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"}
    needed = {
        "amx": vnni | {"amx_tile", "amx_bf16"},
        "avx512vnni": vnni,
        "avx512": {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq"},
        "avx2": {"avx2", "fma", "f16c"},
        "portable": set(),
    }
    assert library.instruction_set() == next(name for name, wanted in needed.items() if wanted <= flags)


def test_an_error_of_the_library_is_raised_with_its_message() -> None:
    status = library.load_library().litgpt_set_threads(0)
    with pytest.raises(UnsupportedOperation, match="threads"):
        library.check(status, "This")


@pytest.fixture
def other_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path at which the library is expected, where there is none."""
    path = tmp_path / library.LIBRARY.name
    monkeypatch.setattr(library, "LIBRARY", path)
    monkeypatch.setattr(library, "load_library", library.load_library.__wrapped__)
    return path


def test_a_missing_library_is_an_error_with_the_reason_and_a_remedy(other_library: Path) -> None:
    assert not library.is_installed()
    with pytest.raises(UnsupportedOperation, match=r"not built when litgpt was installed.*apt install g"):
        library.load_library()
    other_library.with_suffix(".missing").write_text("LITGPT_NATIVE was 0.", encoding="utf-8")
    with pytest.raises(UnsupportedOperation, match="LITGPT_NATIVE was 0"):
        library.load_library()


def test_a_damaged_library_is_an_error(other_library: Path) -> None:
    other_library.write_bytes(b"\x7fELF")
    with pytest.raises(UnsupportedOperation, match="cannot be loaded"):
        library.load_library()


@pytest.mark.skipif(sys.platform != "linux", reason="a system library that is always there")
def test_another_library_is_an_error(other_library: Path) -> None:
    libc = ctypes.CDLL(None)._name or "libc.so.6"
    other_library.symlink_to(next(Path("/").glob(f"lib*/**/{libc}")))
    with pytest.raises(UnsupportedOperation, match="litgpt_api_version"):
        library.load_library()


def test_lack_of_memory_is_insufficient_space() -> None:
    class Failing:
        def litgpt_last_error(self) -> bytes:
            return b"Out of memory: 64 bytes."

    with pytest.raises(InsufficientSpace, match="64 bytes"):
        library.check(-1, "A step", Failing())  # type: ignore[arg-type]
