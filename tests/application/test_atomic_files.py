"""Tests of atomic file writes: complete, flushed to disk, with the usual permissions."""

import os
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from litgpt.application.files.atomic_write import (
    atomic_write,
    exchange,
    partial_name,
    remove_abandoned,
    staging_folder,
)


def test_a_new_file_has_the_usual_permissions_and_a_replaced_one_keeps_its_own(tmp_path: Path) -> None:
    path, usual = tmp_path / "chat.json", tmp_path / "usual"
    usual.write_bytes(b"")
    atomic_write(path, b"one")
    assert path.stat().st_mode == usual.stat().st_mode
    path.chmod(0o600)
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600 or sys.platform == "win32"


def test_a_planted_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "it"
    precious.write_bytes(b"kept")
    path.symlink_to(precious)
    atomic_write(path, b"new")
    assert precious.read_bytes() == b"kept"
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_an_exception_the_previous_file_is_there_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"old")

    def fails(file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        atomic_write(path, fails)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not flushed there")
def test_the_content_is_on_the_disk_before_the_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, bool]] = []
    path, flush = tmp_path / "it", os.fsync

    def recorded(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, path.exists()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    atomic_write(path, b"content")
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_only_partial_files_of_this_library_are_abandoned(tmp_path: Path) -> None:
    (tmp_path / f".saving-{'a' * 32}").write_bytes(b"")
    (tmp_path / f".saving-{'b' * 32}").mkdir()
    if sys.platform != "win32":
        os.mkfifo(tmp_path / f".saving-{'c' * 32}")  # opening it would wait for a writer
    names = {"x.coming", ".saving-x", f"saving-{'a' * 32}"}
    for name in names:
        (tmp_path / name).write_bytes(b"")
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_files_in_progress_are_not_removed_as_abandoned(tmp_path: Path) -> None:
    staged = tmp_path / partial_name()

    def write(_: BinaryIO) -> None:
        remove_abandoned(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2

    with staging_folder(staged):
        atomic_write(tmp_path / "it", write)
        assert staged.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="Not a regular file"):
        atomic_write(path, b"")
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can")
def test_two_folders_exchange_their_names_at_once(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"")
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "other").exists()
    assert not exchange(tmp_path / "one", tmp_path / "absent")
