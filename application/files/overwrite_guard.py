"""Save without replacing anything unasked, and say what was written."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.units import format_bytes, format_count
from litgpt.domain.overwrite_check import InspectFolder, SavedContent, WouldOverwrite
from litgpt.domain.progress import Notice, Reporter


@attrs.frozen
class OverwriteGuard:
    """Decides whether a folder may be written to.

    Attributes:
        inspect: Returns what a folder holds.

    """

    inspect: InspectFolder

    def check(self, folder: Path, new: SavedContent, *, overwrite: bool) -> None:
        """Check that something may be saved in a folder.

        Raises:
            BadArgument: It is not a folder, or `new` is an adapter and it holds a model.
            WouldOverwrite: It holds another model or adapter, and `overwrite` is not set.

        """
        if folder.exists() and not folder.is_dir():
            raise InvalidArgument("out_dir", str(folder), "a folder, and this is a file")
        there = self.inspect(folder)
        if there is not None and new.is_adapter and not there.is_adapter:
            expected = (
                f"another folder: this one holds {there.description}, beside which an adapter is not read"
            )
            raise InvalidArgument("out_dir", str(folder), expected)
        lost = None if there is None else there.lost_when_replaced_by(new)
        if lost is not None and not overwrite:
            raise WouldOverwrite(str(folder), lost)

    @contextmanager
    def guard(self, folder: Path, new: SavedContent, report: Reporter, *, overwrite: bool) -> Iterator[None]:
        """Let something be written into a folder, and report what was written.

        Raises:
            BadArgument: It is not a folder.
            WouldOverwrite: It holds another model or adapter, and `overwrite` is not set.

        """
        self.check(folder, new, overwrite=overwrite)
        before = _files(folder)
        yield
        written = [stamp for path, stamp in _files(folder).items() if before.get(path) != stamp]
        if written:
            nbytes = sum(one.nbytes for one in written)
            report(Notice(f"Saved to {folder}: {format_count(len(written), 'file')}, {format_bytes(nbytes)}"))


@attrs.frozen
class _FileStamp:
    """What changes when a file is written anew."""

    inode: int
    mtime_ns: int
    nbytes: int


def _files(folder: Path) -> dict[Path, _FileStamp]:
    """Return the files in a folder and in its direct subfolders."""
    found = {}
    for path in [*folder.glob("*"), *folder.glob("*/*")] if folder.is_dir() else ():
        with suppress(OSError):  # gone in the meantime
            if path.is_file():
                status = path.stat()
                found[path] = _FileStamp(status.st_ino, status.st_mtime_ns, status.st_size)
    return found
