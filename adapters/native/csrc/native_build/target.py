"""The platform that the library is built for: this one, or the one of the wheel in LITGPT_NATIVE_WHEEL."""

import os
import platform
import sys
from dataclasses import dataclass

VARIABLE = "LITGPT_NATIVE_WHEEL"
"""The tag of a platform in `WHEELS`, for which the library is then compiled by ziglang."""


@dataclass(frozen=True)
class Target:
    """A system and a processor.

    Args:
        system: As in `sys.platform`.
        machine: As in target triples.
        triple: The target in the words of zig, which include the oldest version of the system.
    """

    system: str
    machine: str
    triple: str

    @property
    def file_name(self) -> str:
        """Return the name of the library."""
        return {"darwin": "_native.dylib", "win32": "_native.dll"}.get(self.system, "_native.so")

    @property
    def compile_flags(self) -> tuple[str, ...]:
        return () if self.system == "win32" else ("-fPIC",)

    @property
    def link_flags(self) -> tuple[str, ...]:
        """Return the flags that leave out unused libraries and reject names that are defined nowhere."""
        return ("-Wl,--as-needed", "-Wl,-z,defs") if self.system == "linux" else ()


WHEELS = {
    "manylinux_2_17_x86_64": Target("linux", "x86_64", "x86_64-linux-gnu.2.17"),
    "manylinux_2_17_aarch64": Target("linux", "aarch64", "aarch64-linux-gnu.2.17"),
    "macosx_11_0_x86_64": Target("darwin", "x86_64", "x86_64-macos.11.0"),
    "macosx_11_0_arm64": Target("darwin", "aarch64", "aarch64-macos.11.0"),
    "win_amd64": Target("win32", "x86_64", "x86_64-windows-gnu"),
}
"""The platforms for which `make wheels` builds a wheel, by tag."""


def _host() -> Target:
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
    system = {"darwin": "macos", "win32": "windows-gnu"}.get(sys.platform, f"linux-{libc}")
    return Target(sys.platform, machine, f"{machine}-{system}")


WHEEL_TAG = os.environ.get(VARIABLE)
TARGET = _host() if WHEEL_TAG is None else WHEELS[WHEEL_TAG]
