"""Find files, and detect dangling links and Git LFS pointers in place of files."""

from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from litgpt.domain.errors import MissingFile

MAX_POINTER_BYTES = 1024
"""Bytes. A pointer is smaller: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md."""

_MAX_ENTRIES = 1000

_POINTER = b"version https://git-lfs.github.com/spec/"


def existing_paths(name: str, root: Path) -> Iterator[Path]:
    """Yield what exists under a name: as a path, and under a root. A dangling link counts as existing."""
    for candidate in (Path(name), root / name):
        # the name may not be a valid path: too long, with a NUL, or the home of an unknown user
        with suppress(OSError, RuntimeError, ValueError):
            path = candidate.expanduser()
            if path.exists() or path.is_symlink():
                yield path


def similar_path(name: str) -> str:
    """Return an existing folder or GGUF file beside a path that does not exist, if it has a similar name."""
    with suppress(OSError, RuntimeError, ValueError):  # as above
        path = Path(name).expanduser()
        entries = {entry.name: entry for entry in islice(path.parent.iterdir(), _MAX_ENTRIES)}
        close = get_close_matches(path.name, entries, n=1, cutoff=0.75)
        if close and (entries[close[0]].is_dir() or entries[close[0]].suffix == ".gguf"):
            return str(entries[close[0]])
    return ""


def missing_file(path: Path, why: str) -> MissingFile:
    """Return the error for a missing file; for a dangling link it names the target, not the reason `why`."""
    if not path.is_symlink():
        return MissingFile(str(path), why)
    target = f"it is a link to {path.readlink()}, which does not exist."
    remedy = "Copy the files themselves: a folder of the Hub's cache contains only links (`cp -rL`)."
    return MissingFile(str(path), f"{target} {remedy}")


def is_lfs_pointer(beginning: bytes) -> bool:
    """Return whether the first bytes of a file are a Git LFS pointer."""
    return beginning.startswith(_POINTER)


def lfs_pointer_error(path: Path) -> MissingFile:
    """Return the error for a Git LFS pointer in place of a file."""
    return MissingFile(
        str(path),
        "there is a Git LFS pointer in its place. Run `git lfs pull` in "
        f"{path.parent}, or download the file.",
    )


def file_exists(path: Path) -> bool:
    """Return whether a file exists and is not a Git LFS pointer."""
    try:
        if not path.is_file():
            return False
        if path.stat().st_size > MAX_POINTER_BYTES:
            return True
        with path.open("rb") as file:
            return not is_lfs_pointer(file.read(len(_POINTER)))
    except OSError:
        return False


def missing_file_error(path: Path) -> MissingFile | None:
    """Return the error for a dangling link or a Git LFS pointer; None for other files."""
    if path.is_symlink() and not path.exists():
        return missing_file(path, "")
    return lfs_pointer_error(path) if path.is_file() and not file_exists(path) else None
