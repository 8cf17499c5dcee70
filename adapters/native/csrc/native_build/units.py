"""The translation units of the library, and the flags of each."""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from native_build.compiler import Compiler
from native_build.target import TARGET

SOURCES = Path(__file__).resolve().parents[1]
"""The folder `csrc`."""

LIBRARY_FOLDER = SOURCES.with_name("lib")
"""The library's folder in an editable installation: not a package, because a library beside the modules of a
package would be listed as one of them."""

BASE_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fno-exceptions",
    "-fno-rtti",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # a fused multiply-add only where it is written, so that all compilers agree
    "-pthread",
    "-Wall",
    "-Wextra",
    *TARGET.compile_flags,
)

_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq")
_AVX512_VNNI = (*_AVX512, "-mavx512vnni", "-mavx512bf16")
INSTRUCTION_SETS: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "x86_64": {
        "avx2": (_AVX2,),
        "avx512": (_AVX512,),
        "avx512vnni": (_AVX512_VNNI,),
        "amx": ((*_AVX512_VNNI, "-mamx-tile", "-mamx-bf16"),),
    },
    # GCC and clang; zig, which has its own names
    "aarch64": {"neon": (("-march=armv8.2-a+dotprod",), ("-mcpu=generic+v8_2a+dotprod",))},
}
"""The flags of `kernels/isa_NAME.cpp` by processor: the first that the compiler accepts. The portable kernels
need none."""


def user_flags() -> list[str]:
    """Return the flags in CXXFLAGS, for the compiler and the linker."""
    return shlex.split(os.environ.get("CXXFLAGS", ""))


@dataclass(frozen=True)
class Unit:
    """A source file and the flags with which it is compiled."""

    source: Path
    flags: tuple[str, ...]


def units(compiler: Compiler, *, testing: bool = False) -> Iterator[Unit]:
    """Yield the units for this processor. `LITGPT_HAVE_AVX2` and so on say which kernels are among them.

    `testing` adds the folder `testing`, whose functions give tests what `api.h` does not export.
    """
    sets = {
        name: flags
        for name, candidates in INSTRUCTION_SETS.get(TARGET.machine, {}).items()
        if (SOURCES / f"kernels/isa_{name}.cpp").exists()
        and (flags := next(filter(compiler.accepts, candidates), None)) is not None
    }
    available = tuple(f"-DLITGPT_HAVE_{name.upper()}" for name in sets)
    base = (*BASE_FLAGS, *available, *user_flags())
    for source in sorted(SOURCES.rglob("*.cpp")):
        if source.is_relative_to(SOURCES / "testing") and not testing:
            continue
        name = source.stem.removeprefix("isa_")
        if name in (source.stem, "portable"):
            yield Unit(source, base)
        elif name in sets:
            yield Unit(source, (*base, *sets[name]))


def headers() -> list[Path]:
    """Return all files that a unit may include."""
    return sorted(path for path in SOURCES.rglob("*") if path.suffix in (".h", ".inc"))
