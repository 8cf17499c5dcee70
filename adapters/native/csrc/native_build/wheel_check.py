"""Checks that a wheel has what its name says: the library of that platform, and no unexpected files."""

import re
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from native_build.target import WHEELS
from native_build.units import INSTRUCTION_SETS

_LIBRARY = "litgpt/adapters/native/lib/"
_EXPECTED = re.compile(
    r"litgpt/(?!adapters/native/(lib|csrc)/)(.*\.(py|json)|py\.typed|server/page/index\.html)|litgpt-[^/]*\.dist-info/.*"
)
_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
_MACH_O_MACHINES = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
_PE_MACHINES = {0x8664: "x86_64"}
_BUILD_VERSION = 0x32
"""The load command of a Mach-O file with the oldest system that it runs on."""


@dataclass(frozen=True)
class Binary:
    """The platform of a shared library; `oldest` is the version of macOS or of glibc that it needs."""

    system: str
    machine: str
    oldest: tuple[int, ...] = ()


def problems(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel; an empty list if nothing is."""
    return list(_problems(wheel))


def _problems(wheel: Path) -> Iterator[str]:
    tag = wheel.stem.rpartition("-")[2]
    target = WHEELS[tag]
    library = _LIBRARY + target.file_name
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        yield from (f"unexpected file {name}" for name in sorted(names) if not _is_expected(name, library))
        (metadata,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
        if f"Tag: py3-none-{tag}\n" not in archive.read(metadata).decode().replace("\r\n", "\n"):
            yield f"{metadata} does not have the tag of its name"
        if library not in names:
            yield f"{library} is missing"
            return
        content = archive.read(library)
    try:
        binary = read_binary(content)
    except (KeyError, struct.error, ValueError):
        yield f"{library} is not a shared library"
        return
    if (binary.system, binary.machine) != (target.system, target.machine):
        yield f"{library} is for {binary.system} on {binary.machine}"
        return
    claimed = tuple(map(int, re.findall(r"_(\d+)", tag)[:2])) if binary.oldest else ()
    if binary.oldest > claimed:
        yield f"{library} needs version {'.'.join(map(str, binary.oldest))}, newer than in the tag"
    for name in INSTRUCTION_SETS[target.machine]:
        if f"{name}\0".encode() not in content:
            yield f"{library} does not have the kernels {name}"
    for runtime in (b"libstdc++", b"libc++"):
        if runtime in content:
            yield f"{library} needs {runtime.decode()}"


def _is_expected(name: str, library: str) -> bool:
    return name == library or _EXPECTED.fullmatch(name) is not None


def read_binary(content: bytes) -> Binary:
    """Read the header of a shared library.

    Raises:
        KeyError, ValueError, struct.error: It is not a shared library for a 64-bit processor that is known.
    """
    if content.startswith(b"\x7fELF\x02\x01"):
        (machine,) = struct.unpack_from("<H", content, 18)
        # Versions of symbols are names in the file's table of strings.
        versions = re.findall(rb"\0GLIBC_(\d+)\.(\d+)", content)
        return Binary("linux", _ELF_MACHINES[machine], max((int(a), int(b)) for a, b in versions))
    if content.startswith(b"\xcf\xfa\xed\xfe"):
        machine, _, _, commands = struct.unpack_from("<4I", content, 4)
        return Binary("darwin", _MACH_O_MACHINES[machine], _oldest_macos(content, commands))
    if content.startswith(b"MZ"):
        (header,) = struct.unpack_from("<I", content, 0x3C)
        signature, machine = struct.unpack_from("<4sH", content, header)
        if signature == b"PE\0\0":
            return Binary("win32", _PE_MACHINES[machine])
    raise ValueError


def _oldest_macos(content: bytes, commands: int) -> tuple[int, ...]:
    at = 32  # after the header
    for _ in range(commands):
        command, size, _, oldest = struct.unpack_from("<4I", content, at)
        if command == _BUILD_VERSION:
            return oldest >> 16, oldest >> 8 & 0xFF
        at += size
    raise ValueError
