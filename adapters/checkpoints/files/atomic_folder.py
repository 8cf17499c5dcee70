"""Replace the model in a folder atomically, also if other processes save to it.

Files are written into a new subfolder and synced to disk. If the folder contains only the old model, folder
and subfolder are exchanged with a single rename. Otherwise files are moved individually while a marker
exists, and a folder with a marker is not read. See docs/decisions/saving.md.
"""

import errno
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from litgpt.application.files.atomic_write import (
    PARTIAL_NAME,
    exchange,
    lock,
    partial_name,
    remove_abandoned,
    staging_folder,
    sync_folder,
    sync_tree,
)
from litgpt.application.files.free_space import free_bytes
from litgpt.domain.errors import CorruptFile, InsufficientSpace, LitGPTError, UnsupportedOperation

_MARKER = re.compile(PARTIAL_NAME.pattern + r"\.old")
_INDEX = ".index.json"
_MAX_WAIT_SECONDS = 60.0
"""Seconds. Other processes hold the lock only while they rename files."""


@contextmanager
def replace_folder(folder: Path, key: str, old_files: Callable[[Path], Iterable[str]]) -> Iterator[Path]:
    """Yield a staging folder, which replaces the model in `folder` when the context exits.

    If an exception is raised or the process is killed, the old model remains. Unrelated files are kept.
    Links are replaced, not followed.

    Args:
        folder: The output folder; it is created if it does not exist.
        key: The file without which the folder does not count as a model.
        old_files: Returns the relative paths of an old model's files in a folder; they need not exist. Files
            that the new model also has are always replaced.
    """
    with _translate_disk_errors(folder), ExitStack() as stack:
        if folder.is_symlink() and not folder.exists():
            raise FileExistsError(errno.EEXIST, "It is a dangling link")
        place = Path(os.path.realpath(folder))
        stack.enter_context(_created_folder(place))
        staged = place / partial_name()
        with _locked(place):
            _existing(place, {key, *old_files(place)})  # raises if a folder is in the place of a file
            for parent in (place, place.parent):
                with suppress(OSError):
                    remove_abandoned(parent)
            stack.enter_context(staging_folder(staged))
        yield staged
        sync_tree(staged)
        with _locked(place):
            _put_in_place(staged, place, key, old_files(place))


def check_not_interrupted(folder: Path) -> None:
    """Raise CorruptFile if a save to a folder was interrupted, or is in progress, while files are moved."""
    if marker := next(_markers(folder), None):
        reason = "a save to this folder was interrupted or is in progress. Save the model to it again."
        raise CorruptFile(str(folder), f"{reason} (Files of the previous model are in {marker}.)")


def check_free_space(folder: Path, needed: int) -> None:
    """Raise InsufficientSpace unless `needed` bytes are free on the disk of a folder, which may be absent."""
    free = free_bytes(folder)
    if needed > free:
        reason = (
            f"it needs {needed / 1e9:.1f} GB, but the disk has {free / 1e9:.1f} GB free. "
            "Free disk space, or save elsewhere."
        )
        raise InsufficientSpace(f"Saving to {folder}", reason)


def _put_in_place(staged: Path, folder: Path, key: str, old_files: Iterable[str]) -> None:
    new = [path.relative_to(staged).as_posix() for path in sorted(staged.rglob("*")) if not path.is_dir()]
    old = _existing(folder, {*old_files, *new})
    if not (
        _holds_only(folder, {*old, *_markers(folder), staged.name}) and _exchange_folders(staged, folder, old)
    ):
        _move_files(staged, folder, old, new, key)


def _existing(folder: Path, names: Collection[str]) -> list[str]:
    """Return which of some names exist in a folder; for names inside a link, the link."""
    links = {parent for parent in _parents(names) if (folder / parent).is_symlink()}
    existing = [name for name in names if _parent(name) not in links and os.path.lexists(folder / name)]
    for name in existing:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
    return sorted([*existing, *links])


def _holds_only(folder: Path, known: Collection[str]) -> bool:
    """Return whether a folder contains only known names and is not the working directory."""
    with suppress(OSError):
        if Path.cwd().is_relative_to(folder):
            return False  # the working directory of this process would be deleted
    parents = _parents(known)
    for path in folder.iterdir():
        if path.name in known:
            continue
        if path.name not in parents or any(f"{path.name}/{sub.name}" not in known for sub in path.iterdir()):
            return False
    return True


def _exchange_folders(staged: Path, folder: Path, old: Sequence[str]) -> bool:
    """Exchange a folder and its subfolder, delete the old content, and return whether this succeeded."""
    before, after = folder.stat(), staged.stat()
    if (before.st_uid, before.st_gid) != (after.st_uid, after.st_gid):
        return False
    aside = folder.with_name(staged.name)
    try:
        staged.chmod(stat.S_IMODE(before.st_mode))
        staged.rename(aside)
    except OSError:  # a mount point, or a parent that is not writable
        return False
    try:
        exchange(aside, folder)
    finally:
        exchanged = aside.stat().st_ino == before.st_ino
        if not exchanged:
            aside.rename(staged)
    if not exchanged:
        return False
    sync_folder(folder.parent)
    known = {*old, *_parents(old), *_markers(aside)}
    for late in [path for path in aside.iterdir() if path.name not in known]:  # created during the exchange
        with suppress(OSError):
            late.rename(folder / late.name)
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _move_files(staged: Path, folder: Path, old: Sequence[str], new: Sequence[str], key: str) -> None:
    """Move the old files out and the new files in while a marker exists; undo this on failure.

    The index of shards is removed last and added first, so that after a kill all shards are listed.
    """
    marker = folder / f"{staged.name}.old"
    going = sorted(old, key=lambda name: (name != key, name.endswith(_INDEX)))
    coming = sorted(new, key=lambda name: (name == key, not name.endswith(_INDEX)))
    try:
        marker.mkdir()
        sync_folder(folder)
        for name in going:
            _move(name, folder, marker)
        for name in coming:
            _move(name, staged, folder)
        for parent in _parents(new):
            sync_folder(folder / parent)
        sync_folder(folder)
        marker.rename(folder / partial_name())  # from here on, the folder contains the new model
    except BaseException:
        if marker.is_dir():
            _undo(staged, folder, marker, going, coming)
        raise
    sync_folder(folder)
    with suppress(OSError):
        for left in _markers(folder):  # left by earlier saves
            (folder / left).rename(folder / partial_name())
        remove_abandoned(folder)
        for parent in _parents(old):
            (folder / parent).rmdir()


def _undo(staged: Path, folder: Path, marker: Path, old: Sequence[str], new: Sequence[str]) -> None:
    for name in reversed(new):
        if not os.path.lexists(staged / name):
            _move(name, folder, staged)
    for parent in _parents(new):
        with suppress(OSError):
            (folder / parent).rmdir()
    for name in reversed(old):
        if os.path.lexists(marker / name):
            _move(name, marker, folder)
    for parent in _parents(old):
        with suppress(FileNotFoundError):
            (marker / parent).rmdir()
    marker.rmdir()


def _move(name: str, source: Path, target: Path) -> None:
    if _parent(name):
        (target / _parent(name)).mkdir(exist_ok=True)
    (source / name).rename(target / name)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _parents(names: Iterable[str]) -> set[str]:
    return {_parent(name) for name in names} - {""}


def _markers(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        for path in folder.iterdir():
            if _MARKER.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                yield path.name


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other process moves files in a folder. Systems that cannot lock folders do not wait."""
    if sys.platform == "win32":
        yield
        return
    deadline = time.monotonic() + _MAX_WAIT_SECONDS
    with ExitStack() as stack:
        while not _try_to_lock(folder, stack):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "Another process has been saving to it for too long")
            time.sleep(0.02)
        yield


def _try_to_lock(folder: Path, stack: ExitStack) -> bool:
    """Lock a folder until `stack` is closed; return False if another process holds the lock."""
    with ExitStack() as opened:
        descriptor = os.open(folder, os.O_RDONLY)
        opened.callback(os.close, descriptor)
        try:
            lock(descriptor)
        except BlockingIOError:
            return False
        except OSError:  # some network file systems do not support locks
            pass
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            return False  # another process has replaced the folder
        stack.push(opened.pop_all())
        return True


@contextmanager
def _created_folder(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; on an exception, remove the created folders that are empty."""
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in created:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def _translate_disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, LitGPTError):  # such as a MissingFile of weights that are read
            raise
        reason = f"{(error.strerror or str(error)).lower()}. Choose a writable folder."
        raise UnsupportedOperation(f"Saving to {folder}", reason) from error
