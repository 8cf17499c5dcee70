"""Tests of the wheel: it contains every source file, and the version is declared once."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.architecture.repository import NOT_IN_WHEEL, ROOT, copy_sources, pyproject, wheel_files


def module_folders() -> dict[str, Path]:
    """Return each package's folder, by the package name in pyproject.toml."""
    mapping = pyproject()["tool"]["setuptools"]["package-dir"]
    roots = {ROOT / folder: package for package, folder in mapping.items()}
    results = {}
    for root, package in roots.items():
        for init in root.rglob("__init__.py"):
            if init.is_relative_to(NOT_IN_WHEEL):
                continue
            results[".".join((package, *init.parent.relative_to(root).parts))] = init.parent
    return results


def installed_as(path: Path) -> str:
    """Return the path of a source file in the wheel."""
    folders = {folder: package for package, folder in module_folders().items()}
    folder = next(parent for parent in path.parents if parent in folders)
    return "/".join((*folders[folder].split("."), *path.relative_to(folder).parts))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    sources = copy_sources(tmp_path_factory.mktemp("wheel") / "sources")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(sources.parent)]
    environment = {**os.environ, "PYTHONWARNINGS": "default", "LITGPT_NATIVE": "0"}
    run = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return zipfile.ZipFile(next(sources.parent.glob("*.whl")))


def test_every_package_is_listed() -> None:
    """Setuptools silently drops a package that is not listed."""
    assert sorted(pyproject()["tool"]["setuptools"]["packages"]) == sorted(module_folders())


def test_every_folder_with_python_in_it_is_a_package() -> None:
    folders = {path.parent for path in wheel_files(".py")}
    assert sorted(folders) == sorted(module_folders().values())


def test_the_wheel_holds_every_source_file_byte_for_byte(wheel: zipfile.ZipFile) -> None:
    kept = [name for name in wheel.namelist() if ".dist-info/" not in name and "/lib/_native." not in name]
    packed = {name: wheel.read(name) for name in kept}
    assert packed == {installed_as(path): path.read_bytes() for path in wheel_files()}
    assert "litgpt/py.typed" in packed


def test_the_wheel_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    licence = next(name for name in wheel.namelist() if name.endswith("licenses/LICENSE"))
    assert b"Apache License" in wheel.read(licence)


def test_the_tests_import_this_checkout() -> None:
    """A copied virtual environment still refers to the original folder."""
    spec = find_spec("litgpt.domain")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin)
    assert installed.parent == ROOT / "domain" or ROOT / ".check" in installed.parents


def test_the_version_is_declared_once() -> None:
    declared = pyproject()["project"]["version"]
    assert version("litgpt") == declared
    second = [path for path in wheel_files() if f'"{declared}"' in path.read_text(encoding="utf-8")]
    assert not second


def test_every_tool_and_library_has_a_tested_version() -> None:
    project = pyproject()["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {line.split("==")[0].split(">=")[0].lower().replace("_", "-") for line in requirements}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert names <= tested
