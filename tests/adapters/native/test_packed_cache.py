"""Tests of the files of packed weights."""

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litgpt.adapters.native import build
from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.weights import packed_cache
from litgpt.adapters.native.weights.packing import pack_parameter
from litgpt.container import container
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of a small model in float32."""
    monkeypatch.setenv("LITGPT_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny_folder("llama"), tmp_path / "model"))


def load(model: Path, quantize: Any = "int4") -> NativeModel:
    loaded = container.load_model()(ModelReference(str(model)))
    sources, checkpoint = loaded.weight_sources, loaded.checkpoint
    return build.build_model(
        loaded.architecture, sources, checkpoint, null_reporter, dtype="float32", quantize=quantize
    )


def files(model: Path) -> list[Path]:
    return sorted((model.parent / "cache").rglob("*.packed"))


def touch(model: Path) -> None:
    """Change the modification time of the weights."""
    file = model / "model.safetensors"
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def content(model: NativeModel) -> Mapping[str, Any]:
    return {name: np.array(matrix.data) for name, matrix in model.weights.items()}


def assert_equal(first: NativeModel, second: NativeModel) -> None:
    assert first.weights.keys() == second.weights.keys()
    for name, matrix in first.weights.items():
        assert (matrix.format, matrix.rows) == (second.weights[name].format, second.weights[name].rows)
        np.testing.assert_array_equal(matrix.data, second.weights[name].data)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each matrix is added that is packed."""
    names: list[str] = []

    def record(reader: Any, source: Any, *arguments: Any) -> Any:
        names.append(source.parameter.name)
        return pack_parameter(reader, source, *arguments)

    monkeypatch.setattr(build, "pack_parameter", record)
    return names


@pytest.mark.parametrize("quantize", ["int8", "int4"])
def test_weights_are_quantized_once(folder: Path, packed: list[str], quantize: str) -> None:
    first = load(folder, quantize)
    assert packed
    packed.clear()
    assert_equal(first, load(folder, quantize))
    assert not packed
    assert len(files(folder)) == 1


def test_weights_in_their_own_format_are_packed_each_time(folder: Path, packed: list[str]) -> None:
    load(folder, None)
    packed.clear()
    load(folder, None)
    assert packed
    assert not files(folder)


def test_each_quantization_and_each_version_of_a_file_has_its_own(folder: Path, packed: list[str]) -> None:
    load(folder, "int8")
    load(folder, "int4")
    assert len(files(folder)) == 2
    touch(folder)
    packed.clear()
    load(folder, "int4")
    assert packed
    assert len(files(folder)) == 3


def test_another_file_of_the_same_size_and_modification_time_is_packed(
    folder: Path, packed: list[str]
) -> None:
    load(folder)
    file = folder / "model.safetensors"
    status = file.stat()
    shutil.copyfile(tiny_folder("llama", seed=1) / "model.safetensors", file)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    packed.clear()
    load(folder)
    assert packed


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_only_the_user_can_read_it(folder: Path) -> None:
    load(folder)
    (file,) = files(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["empty", "truncated", "longer", "header", "magic", "length"])
def test_a_damaged_file_is_replaced(folder: Path, packed: list[str], damage: str) -> None:
    first = load(folder)
    (file,) = files(folder)
    whole = file.read_bytes()
    damaged = {
        "empty": b"",
        "truncated": whole[:-1],
        "longer": whole + b"\0",
        "header": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
        "magic": b"?" + whole[1:],
        "length": whole[:16] + b"\xff" * 8 + whole[24:],
    }[damage]
    file.write_bytes(damaged)
    packed.clear()
    assert_equal(first, load(folder))
    assert packed
    assert file.read_bytes() == whole


@pytest.mark.skipif(os.name == "nt", reason="Windows needs a privilege for links")
def test_a_link_is_not_followed(folder: Path, packed: list[str]) -> None:
    load(folder)
    (file,) = files(folder)
    elsewhere = file.rename(folder.parent / "elsewhere")
    file.symlink_to(elsewhere)
    packed.clear()
    load(folder)
    assert packed
    assert not file.is_symlink()


def test_the_least_recently_used_files_are_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, "int8")
    (first,) = files(folder)
    load(folder, "int4")
    (second,) = set(files(folder)) - {first}
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    load(folder, "int8")  # it is used
    monkeypatch.setattr(packed_cache, "MAX_BYTES", first.stat().st_size + second.stat().st_size)
    touch(folder)
    load(folder, "int4")
    assert first.exists()
    assert not second.exists()
    assert len(files(folder)) == 2


def test_a_model_that_exceeds_the_limit_is_not_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, "int8")
    monkeypatch.setattr(packed_cache, "MAX_BYTES", 100)
    load(folder, "int4")
    assert len(files(folder)) == 1


def test_a_folder_that_cannot_be_written_does_not_matter(folder: Path) -> None:
    (folder.parent / "cache").write_text("a file in place of the folder", encoding="utf-8")
    assert content(load(folder))


def test_a_full_disk_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_cache, "free_bytes", lambda _: 1000)
    assert content(load(folder))
    assert not files(folder)


def test_an_empty_setting_disables_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITGPT_CACHE", "")
    load(folder)
    assert not files(folder)
    assert packed_cache.cache_folder() is None


def test_the_folder_is_in_the_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LITGPT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert packed_cache.cache_folder() == tmp_path / "litgpt" / "packed"
