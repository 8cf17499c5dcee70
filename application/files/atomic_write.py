"""Write files and folders atomically and durably."""

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
"""The names of partial files and folders, including leftovers of killed processes."""

# Not available on every system. They prevent blocking on a FIFO and following a symbolic link.
_NO_FOLLOW_FLAGS: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # include/uapi/linux/fcntl.h, include/uapi/linux/fs.h


def atomic_write(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a temporary file in the same folder, flush it to disk and rename it.

    `content` may be a function that writes to an open file. A symbolic link is replaced, not followed. A
    replaced file keeps its permissions; a new file gets the default permissions. After an exception, the
    folder is unchanged.

    Raises:
        OSError: The file cannot be written, or the path is not a regular file.
    """
    partial = path.with_name(partial_name())
    try:
        with partial.open("xb") as file:
            with suppress(OSError):  # so that `remove_abandoned` does not remove it
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
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):  # do not replace a device
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return stat.S_IMODE(mode) if stat.S_ISREG(mode) else None


@contextmanager
def staging_folder(path: Path) -> Iterator[None]:
    """Create a temporary folder, named by `partial_name`, and remove it afterwards, unless it was renamed.

    It is locked, so that `remove_abandoned` does not remove it.
    """
    path.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        if sys.platform != "win32":
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            with suppress(OSError):  # some network file systems do not support locks
                lock(descriptor)
        yield


def partial_name() -> str:
    """Return a random name for a partial file or folder."""
    return f".saving-{uuid4().hex}"


def remove_abandoned(folder: Path) -> None:
    """Remove partial files and folders of killed processes; a lock protects the ones in use."""
    for name in os.listdir(folder):  # noqa: PTH208 - names are enough
        path = folder / name
        if not PARTIAL_NAME.fullmatch(name) or path.is_symlink():
            continue
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW_FLAGS)
            try:
                lock(descriptor)
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
            finally:
                os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock an open file or folder until it is closed; raise OSError if it is locked already."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_tree(folder: Path) -> None:
    """Flush a folder with all its files and subfolders to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("r+b") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk, if the system supports it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported by some file systems
            raise
    finally:
        os.close(descriptor)


def exchange(first: Path, second: Path) -> bool:
    """Exchange two paths atomically; return False if the system does not support it."""
    rename = _renameat2()
    sys.audit("os.rename", first, second, -1, -1)  # as os.rename does
    return rename is not None and not rename(
        _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE
    )


@cache
def _renameat2() -> Any:
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function
