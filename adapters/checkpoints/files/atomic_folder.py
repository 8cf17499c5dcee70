"""Replacing the model in a folder by another in one step, whoever else is saving there.

Files are written into a new subfolder and flushed to the disk. Where the folder holds nothing but the old
model, it and the subfolder exchange their names in one rename. Otherwise files are moved one by one while a
marker is there, and a folder with a marker is not read. See docs/decisions/saving.md.
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
"""Seconds. Another saver holds the lock only while it renames files."""


@contextmanager
def replace_folder(folder: Path, key: str, old_files: Callable[[Path], Iterable[str]]) -> Iterator[Path]:
    """Yield a new folder to write a model into, which takes the place of the model in `folder` at the end.

    If an exception is raised or the process is killed before that, the old model is there. Files of the user
    stay. Links are replaced, not followed.

    Args:
        folder: Where the model is to be; it is made if it does not exist.
        key: The file without which no model is read.
        old_files: Returns the names that files of an old model have in a folder, as paths relative to it;
            they need not exist. Files with the names of new ones are replaced in any case.

    Raises:
        UnsupportedOperation: The folder cannot be written to.

    """
    with _translate_disk_errors(folder), ExitStack() as stack:
        if folder.is_symlink() and not folder.exists():
            raise FileExistsError(errno.EEXIST, "It is a link that leads nowhere")
        place = Path(os.path.realpath(folder))
        stack.enter_context(_created_folder(place))
        staged = place / partial_name()
        with _locked(place):
            _existing(place, {key, *old_files(place)})  # which refuses folders in the place of files
            for one in (place, place.parent):
                with suppress(OSError):
                    remove_abandoned(one)
            stack.enter_context(staging_folder(staged))
        yield staged
        sync_tree(staged)
        with _locked(place):
            _put_in_place(staged, place, key, old_files(place))


def check_not_interrupted(folder: Path) -> None:
    """Refuse a folder to which a save was interrupted while it moved files one by one.

    Raises:
        CorruptFile: It was, or it is under way.

    """
    if left := next(_markers(folder), None):
        reason = "a save to this folder was interrupted, or is under way. Save the model to it again."
        raise CorruptFile(str(folder), f"{reason} (Files of the model that was there before are in {left}.)")


def check_free_space(folder: Path, needed: int) -> None:
    """Check that the disk of a folder, which need not exist, has so many bytes free.

    Raises:
        UnsupportedOperation: It has not.

    """
    free = free_bytes(folder)
    if needed > free:
        has = f"the disk has {free / 1e9:.1f} GB"
        reason = f"it takes {needed / 1e9:.1f} GB, and {has}. Free some, or save elsewhere."
        raise InsufficientSpace(f"Saving to {folder}", reason)


def _put_in_place(staged: Path, folder: Path, key: str, old_files: Iterable[str]) -> None:
    new = [one.relative_to(staged).as_posix() for one in sorted(staged.rglob("*")) if not one.is_dir()]
    old = _existing(folder, {*old_files, *new})
    if not (
        _holds_only(folder, {*old, *_markers(folder), staged.name}) and _exchange_folders(staged, folder, old)
    ):
        _move_files(staged, folder, old, new, key)


def _existing(folder: Path, names: Collection[str]) -> list[str]:
    """Return those of some names that exist in a folder; in place of names within a link, the link."""
    links = {parent for parent in _parents(names) if (folder / parent).is_symlink()}
    found = [name for name in names if _parent(name) not in links and os.path.lexists(folder / name)]
    for name in found:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
    return sorted([*found, *links])


def _holds_only(folder: Path, known: Collection[str]) -> bool:
    """Return whether there is nothing else in a folder, which no process is known to be in."""
    with suppress(OSError):
        if Path.cwd().is_relative_to(folder):
            return False  # whoever started this process would be in a folder that is gone
    parents = _parents(known)
    for one in folder.iterdir():
        if one.name in known:
            continue
        if one.name not in parents or any(f"{one.name}/{inner.name}" not in known for inner in one.iterdir()):
            return False
    return True


def _exchange_folders(staged: Path, folder: Path, old: Sequence[str]) -> bool:
    """Exchange a folder for one within it, remove what was in it, and return whether the system can."""
    before, after = folder.stat(), staged.stat()
    if (before.st_uid, before.st_gid) != (after.st_uid, after.st_gid):
        return False
    aside = folder.with_name(staged.name)
    try:
        staged.chmod(stat.S_IMODE(before.st_mode))
        staged.rename(aside)
    except OSError:  # a mount point, or a parent that cannot be written to
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
    for late in [one for one in aside.iterdir() if one.name not in known]:  # put there a moment ago
        with suppress(OSError):
            late.rename(folder / late.name)
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _move_files(staged: Path, folder: Path, old: Sequence[str], new: Sequence[str], key: str) -> None:
    """Move the old files out and the new ones in, while a marker is there; undo that if it fails.

    The index of shards is the last to go and the first to come: of what a kill leaves, all is listed.
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
        marker.rename(folder / partial_name())  # from here on, it is the new model
    except BaseException:
        if marker.is_dir():
            _undo(staged, folder, marker, going, coming)
        raise
    sync_folder(folder)
    with suppress(OSError):
        for left in _markers(folder):  # of earlier saves
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


def _move(name: str, one: Path, other: Path) -> None:
    if _parent(name):
        (other / _parent(name)).mkdir(exist_ok=True)
    (one / name).rename(other / name)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _parents(names: Iterable[str]) -> set[str]:
    return {_parent(name) for name in names} - {""}


def _markers(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        for one in folder.iterdir():
            if _MARKER.fullmatch(one.name) and one.is_dir() and not one.is_symlink():
                yield one.name


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other saver moves files in a folder; where folders cannot be locked, go on at once."""
    if sys.platform == "win32":
        yield
        return
    deadline = time.monotonic() + _MAX_WAIT_SECONDS
    with ExitStack() as stack:
        while not _try_to_lock(folder, stack):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "Another process is saving to it, and does not end")
            time.sleep(0.02)
        yield


def _try_to_lock(folder: Path, stack: ExitStack) -> bool:
    """Lock a folder until a stack is left, and return whether no other saver has locked it."""
    with ExitStack() as opened:
        descriptor = os.open(folder, os.O_RDONLY)
        opened.callback(os.close, descriptor)
        try:
            lock(descriptor)
        except BlockingIOError:
            return False
        except OSError:  # some network file systems have no locks
            pass
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            return False  # another saver has exchanged it for a new one
        stack.push(opened.pop_all())
        return True


@contextmanager
def _created_folder(folder: Path) -> Iterator[None]:
    """Make a folder with its parents; after an exception, remove those that were made and are empty."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for one in made:
            with suppress(OSError):
                one.rmdir()
        raise


@contextmanager
def _translate_disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, LitGPTError):  # such as weights that are read, and have gone
            raise
        reason = f"{(error.strerror or str(error)).lower()}. Choose a folder that can be written to."
        raise UnsupportedOperation(f"Saving to {folder}", reason) from error
