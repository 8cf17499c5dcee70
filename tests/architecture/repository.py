"""The files of the repository, for the tests that read them."""

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

SOURCES = ("domain", "application", "adapters", "entrypoints")
"""The folders that the wheel is made of."""

FOLDERS = (*SOURCES, "tests", "benchmarks", "docs", "examples", ".ci")
"""Every folder of this repository, without the folders that tools create."""

NOT_IN_WHEEL = ROOT / "adapters" / "native" / "csrc"
"""The C++ sources and their build backend, which only a source distribution contains."""

PAGE_SOURCES = ROOT / "entrypoints" / "server" / "page" / "web"
"""The TypeScript sources of the page, of which the wheel contains the built file."""

_COMPILED = shutil.ignore_patterns("__pycache__", "_native*", "node_modules")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def files(*folders: str, suffix: str = "") -> Iterator[Path]:
    """Yield the source files under these folders, without what compilers and npm put there."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            made = {"__pycache__", "node_modules"} & set(path.parts) or path.name.startswith("_native")
            if path.is_file() and not made and path.name.endswith(suffix):
                yield path


def wheel_files(suffix: str = "") -> Iterator[Path]:
    """Yield the source files of the wheel."""
    left_out = (NOT_IN_WHEEL, PAGE_SOURCES)
    return (
        path
        for path in files(*SOURCES, suffix=suffix)
        if not any(path.is_relative_to(folder) for folder in left_out)
    )


def copy_sources(into: Path) -> Path:
    """Copy the sources of a wheel, without the output of earlier builds."""
    into.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, into / name, ignore=_COMPILED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, into / name)
    return into


def lay_out(into: Path) -> Path:
    """Copy the sources into `into/litgpt`, in the layout of an installation."""
    for package, folder in sorted(pyproject()["tool"]["setuptools"]["package-dir"].items()):
        target = into.joinpath(*package.split("."))
        shutil.copytree(ROOT / folder, target, ignore=_COMPILED)
    shutil.rmtree(into / "litgpt" / "adapters" / "native" / "csrc")
    return into
