"""Commands of setuptools: the library is part of the package; a wheel serves one platform, any Python 3."""

from pathlib import Path
from typing import ClassVar

from setuptools import Command
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

from native_build.install import build_if_possible
from native_build.target import TARGET, WHEEL_TAG
from native_build.units import LIBRARY_FOLDER, SOURCES


class BuildNative(Command):
    """Builds the library; in an editable installation, beside its sources."""

    editable_mode = False
    user_options: ClassVar[list[tuple[str, str | None, str]]] = []
    build_lib = ""
    built: Path | None = None

    def initialize_options(self) -> None:
        self.build_lib = ""

    def finalize_options(self) -> None:
        self.build_lib = str(self.get_finalized_command("build").build_lib)

    def run(self) -> None:
        installed = Path(self.build_lib, "litgpt", "adapters", "native", "lib")
        self.built = build_if_possible(LIBRARY_FOLDER if self.editable_mode else installed)

    @property
    def has_library(self) -> bool:
        return self.built is not None and self.built.name == TARGET.file_name

    def get_source_files(self) -> list[str]:
        """Return what a source distribution needs beside the Python packages."""
        root = SOURCES.parents[2]
        found = (path for path in SOURCES.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return sorted(str(path.relative_to(root)) for path in found)

    def get_outputs(self) -> list[str]:
        return [] if self.built is None or self.editable_mode else [str(self.built)]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class Build(build):
    """Builds the library after the Python packages."""

    sub_commands = [*build.sub_commands, ("build_native", None)]  # noqa: RUF012 - as in setuptools


class BdistWheel(bdist_wheel):
    """Tags the wheel with the platform if it contains the library."""

    def get_tag(self) -> tuple[str, str, str]:
        # Called when all files are in place. Until then the wheel counts as pure: setuptools puts files of
        # packages without extension modules in the folder for pure packages.
        self.root_is_pure = not self.get_finalized_command("build_native").has_library
        tag: tuple[str, str, str] = super().get_tag()
        return tag if self.root_is_pure else ("py3", "none", WHEEL_TAG or tag[2])
