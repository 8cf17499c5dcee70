"""Tests of the distributions: wheels with and without the library, and the source distribution."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from litgpt.adapters.native.library import LIBRARY
from native_build import compiler, install, shared_library
from native_build.units import SOURCES
from tests.architecture.repository import copy_sources

LOAD = "from litgpt.adapters.native import library; print(library.LIBRARY, library.instruction_set())"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a copy of the sources with the library, which a build does not compile again."""
    copy = copy_sources(tmp_path / "sources")
    shutil.copytree(LIBRARY.parent, copy / "adapters" / "native" / "lib", dirs_exist_ok=True)
    return copy


def build(sources: Path, what: str = "--wheel", **environment: str) -> Path:
    """Build a distribution as `pip wheel` does, with the packages of this environment."""
    command = [
        sys.executable,
        "-m",
        "build",
        what,
        "--no-isolation",
        "--outdir",
        str(sources.parent / "dist"),
    ]
    variables = {name: value for name, value in os.environ.items() if name not in ("LITGPT_NATIVE", "CXX")}
    run = subprocess.run(
        command, cwd=sources, env=variables | environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = (sources.parent / "dist").iterdir()
    return built


def load(wheel: Path) -> subprocess.CompletedProcess[str]:
    """Load the library from an unpacked wheel, in a new process."""
    site = wheel.with_name("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # noqa: S202 - built by the test
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, cwd=site, capture_output=True, text=True, check=False
    )


def test_a_wheel_has_the_library_and_serves_any_python_3_of_its_platform(sources: Path) -> None:
    wheel = build(sources)
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-py3-none-{platform}.whl") or sys.platform == "darwin"
    assert "-py3-none-any" not in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(f"litgpt/adapters/native/lib/{LIBRARY.name}") == LIBRARY.read_bytes()
        assert not [name for name in archive.namelist() if "csrc" in name]
    run = load(wheel)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(wheel.with_name("site")))


def test_without_a_compiler_a_wheel_is_built_without_the_library(sources: Path) -> None:
    wheel = build(sources, CXX="/no/compiler")
    assert wheel.name.endswith("-py3-none-any.whl")
    run = load(wheel)
    assert run.returncode != 0
    assert "UnsupportedOperation: The native engine is not possible" in run.stderr
    assert "No C++ compiler" in run.stderr


def test_the_build_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITGPT_NATIVE", "0")
    built = install.build_if_possible(tmp_path)
    assert built.read_text(encoding="utf-8") == "LITGPT_NATIVE was 0."
    monkeypatch.delenv("LITGPT_NATIVE")
    assert install.build_if_possible(tmp_path) == tmp_path / LIBRARY.name
    assert not built.exists()


def test_sources_that_do_not_compile_do_not_prevent_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "OBJECTS", tmp_path / "objects")
    monkeypatch.setenv("CXXFLAGS", "-include not_there.h")
    assert "The C++ compiler" in install.build_if_possible(tmp_path).read_text(encoding="utf-8")
    assert "not_there.h" in capsys.readouterr().err


def test_a_source_distribution_has_everything_that_the_library_is_built_from(sources: Path) -> None:
    with tarfile.open(build(sources, "--sdist")) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    root = SOURCES.parents[2]
    needed = [path for path in SOURCES.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(root).as_posix() for path in needed} <= packed


def test_a_build_is_repeated_only_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compiler.find_compiler()
    assert found is not None
    csrc = tmp_path / "csrc"
    csrc.mkdir()
    (csrc / "value.h").write_text("constexpr int kValue = 1;\n")
    (csrc / "value.cpp").write_text('#include "value.h"\nint value() { return kValue; }\n')
    (csrc / "testing").mkdir()
    (csrc / "testing" / "broken.cpp").write_text("#error not part of the library\n")
    for module in ("units", "shared_library"):
        monkeypatch.setattr(f"native_build.{module}.SOURCES", csrc)
    monkeypatch.setattr(shared_library, "LIBRARY_FOLDER", tmp_path)

    def built() -> tuple[bytes, int]:
        library = shared_library.build(tmp_path / "out", found, tmp_path / "objects")
        return library.read_bytes(), library.stat().st_ino

    first = built()
    assert built() == first
    (csrc / "value.h").write_text("constexpr int kValue = 2;\n")
    assert built() != first
    assert not list(tmp_path.rglob("*.tmp"))
    (csrc / "value.cpp").write_text("int missing(); int value() { return missing(); }\n")
    if sys.platform == "linux":
        with pytest.raises(shared_library.BuildFailed, match="missing"):
            built()


def test_ziglang_is_required_only_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("LITGPT_NATIVE", raising=False)
    assert compiler.find_compiler() is not None
    assert compiler.missing_requirements() == []
    monkeypatch.setattr(compiler, "find_compiler", compiler.find_compiler.__wrapped__)
    monkeypatch.setattr(compiler, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compiler.missing_requirements() == ["ziglang"]
    monkeypatch.setenv("CXX", "/no/compiler")
    assert compiler.missing_requirements() == []
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("LITGPT_NATIVE", "0")
    assert compiler.missing_requirements() == []


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ziglang") is None, reason="pip install ziglang")
def test_ziglang_builds_the_library(sources: Path) -> None:
    (sources / "adapters" / "native" / "lib" / LIBRARY.name).unlink()
    run = load(build(sources, PATH=str(sources)))
    assert run.returncode == 0, run.stderr
