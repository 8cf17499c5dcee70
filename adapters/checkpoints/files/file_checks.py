"""What may lie in a file's place: a link that leads nowhere, or a Git LFS pointer."""

from pathlib import Path

from litgpt.domain.errors import MissingFile

MAX_POINTER_BYTES = 1024
"""Bytes. A pointer is shorter: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md."""

_POINTER = b"version https://git-lfs.github.com/spec/"


def missing_file(path: Path, why: str) -> MissingFile:
    """Return the error for a file that is not there; of a dangling link, it says where that leads.

    Args:
        path: The file.
        why: What it is needed for, or what is wrong, where nothing lies in its place.

    """
    if not path.is_symlink():
        return MissingFile(str(path), why)
    leads = f"it is a link to {path.readlink()}, where there is nothing."
    how = "Copy the files themselves: a folder of the Hub's cache holds links only (`cp -rL`)."
    return MissingFile(str(path), f"{leads} {how}")


def is_lfs_pointer(beginning: bytes) -> bool:
    """Return whether a file that begins so is a Git LFS pointer."""
    return beginning.startswith(_POINTER)


def lfs_pointer_error(path: Path) -> MissingFile:
    """Return the error for a file in whose place there is a Git LFS pointer."""
    return MissingFile(
        str(path),
        "what lies there is a Git LFS pointer, a short text in place of the file. Run `git lfs pull` in "
        f"{path.parent}, or download the file.",
    )


def file_exists(path: Path) -> bool:
    """Return whether a file is there, and not a Git LFS pointer to it."""
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
    """Return the error for a dangling link or a Git LFS pointer; None where there is neither."""
    if path.is_symlink() and not path.exists():
        return missing_file(path, "")
    return lfs_pointer_error(path) if path.is_file() and not file_exists(path) else None
