"""Files that appear under their name complete and on the disk, or not at all."""

import ctypes
import errno
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

PARTIAL_NAME = re.compile(r"\.saving-[0-9a-f]{32}")
"""The names of what is still being written, or was when its process was killed."""

# Not every system has them. Opening a planted pipe would wait for a writer, opening a link would follow it.
_NO_FOLLOW_FLAGS: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # include/uapi/linux/fcntl.h, include/uapi/linux/fs.h


def atomic_write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file under a random name beside its place, flush it to the disk, and give it its name.

    A link at that name is replaced, not followed. A file that is replaced keeps its permissions; a new one
    gets the usual ones. After any exception, what was there before is there still, and nothing else.

    Args:
        path: The file; its folder exists.
        content: Its bytes, or a function that writes them to an open file.

    Raises:
        OSError: The file cannot be written, or something else than a file has its name.

    """
    partial = path.with_name(partial_name())
    try:
        with partial.open("xb") as file:
            with suppress(OSError):  # until it is closed: `remove_abandoned` leaves it alone
                lock(file.fileno())
            if (mode := _mode_of(path)) is not None:
                partial.chmod(mode)
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _mode_of(path: Path) -> int | None:
    """Return the permissions of a file; None if it does not exist or is a link."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):  # a device would be replaced by a file
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else None


@contextmanager
def staging_folder(path: Path) -> Iterator[None]:
    """Make a folder to write into, and remove it afterwards if it is still there.

    Args:
        path: The folder, under a `partial_name`. It is locked: `remove_abandoned` leaves it alone.

    Raises:
        OSError: It cannot be made.

    """
    path.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        if sys.platform != "win32":
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            with suppress(OSError):  # some network file systems have no locks
                lock(descriptor)
        yield


def partial_name() -> str:
    """Return a random name for what is still being written."""
    return f".saving-{uuid4().hex}"


def remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed left in a folder under a `partial_name`.

    What `atomic_write` or `staging_folder` still uses is locked, and stays.
    """
    for name in os.listdir(folder):  # noqa: PTH208 - names are enough
        left = folder / name
        if not PARTIAL_NAME.fullmatch(name) or left.is_symlink():
            continue
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | _NO_FOLLOW_FLAGS)
            try:
                lock(descriptor)
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink()
            finally:
                os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock an open file or folder until it is closed, without waiting.

    Raises:
        OSError: Another process or thread holds the lock, or the file system has no locks.

    """
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_tree(folder: Path) -> None:
    """Flush all files and folders in a folder, and the folder itself, to the disk.

    Raises:
        OSError: A file cannot be written.

    """
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("r+b") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can.

    Raises:
        OSError: They cannot be written.

    """
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot
            raise
    finally:
        os.close(descriptor)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step, and return whether that was possible here."""
    rename = _renameat2()
    sys.audit("os.rename", one, other, -1, -1)  # as Python's own functions that rename do
    return rename is not None and not rename(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )


@cache
def _renameat2() -> Any:
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function
