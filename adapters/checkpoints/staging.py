"""Writing several files into a folder, all of them or none, whoever else is writing there.

Files are written into a subfolder that is the writer's own, and take their names when all are complete. Then
the folder is locked, so that of two writers the last one wins whole. What a killed process left is removed by
the next one.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

_PREFIX = ".saving-"
_OWNER = "owner.lock"


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Make a folder, and yield a new subfolder to write into, which is gone afterwards.

    Args:
        folder: Where the files are to be in the end.

    Raises:
        OSError: The folder cannot be made or written to.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        _remove_abandoned(folder)
        own = Path(mkdtemp(prefix=_PREFIX, dir=folder))
        owner = (own / _OWNER).open("w")
        _lock(owner.fileno())  # until it is closed, which the end of the process does as well
    try:
        with owner:
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def put_in_place(staged: Path, names: Iterable[str], *, stale: Iterable[str] = ()) -> None:
    """Give files that are complete their places, in this order, and remove what they supersede.

    Args:
        staged: The subfolder that they were written into.
        names: Their names.
        stale: Patterns of names of files that must not stay beside them.

    Raises:
        OSError: A file cannot be moved.

    """
    folder, put = staged.parent, list(names)
    with _locked(folder):
        for name in put:
            (folder / name).parent.mkdir(exist_ok=True)
            (staged / name).replace(folder / name)
        for pattern in stale:
            for old in folder.glob(pattern):
                if old.relative_to(folder).as_posix() not in put:
                    old.unlink()


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that are gone have left; what is locked belongs to one that is not."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            with (left / _OWNER).open("r+") as owner:
                _lock(owner.fileno())
            (left / _OWNER).unlink()
            shutil.rmtree(left)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until nobody else is putting files in place; where folders cannot be locked, go on at once."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file at once.

    Raises:
        OSError: Somebody else holds it. (Windows does not let a file be removed that is open.)

    """
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
