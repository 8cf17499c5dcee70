"""Protect different models from being overwritten, and report the saved files."""

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
    """Checks whether a folder may be written to; `inspect` returns its content."""

    inspect: InspectFolder

    def check(self, folder: Path, new: SavedContent, *, overwrite: bool) -> None:
        """Check that `new` may be saved in a folder.

        Raises:
            InvalidArgument: It is not a folder, or it contains a model and `new` is an adapter.
            WouldOverwrite: It contains another model or adapter, and `overwrite` is False.
        """
        if folder.exists() and not folder.is_dir():
            raise InvalidArgument("out_dir", str(folder), "a folder")
        present = self.inspect(folder)
        if present is not None and new.is_adapter and not present.is_adapter:
            expected = f"a folder without {present.description}, which would hide an adapter"
            raise InvalidArgument("out_dir", str(folder), expected)
        lost = None if present is None else present.lost_when_replaced_by(new)
        if lost is not None and not overwrite:
            raise WouldOverwrite(str(folder), lost)

    @contextmanager
    def guard(self, folder: Path, new: SavedContent, report: Reporter, *, overwrite: bool) -> Iterator[None]:
        """Check a folder before the block, and report the files that the block wrote."""
        self.check(folder, new, overwrite=overwrite)
        before = _files(folder)
        yield
        written = [stamp for path, stamp in _files(folder).items() if before.get(path) != stamp]
        if written:
            nbytes = sum(stamp.nbytes for stamp in written)
            report(Notice(f"Saved to {folder}: {format_count(len(written), 'file')}, {format_bytes(nbytes)}"))


@attrs.frozen
class _FileStamp:
    """Metadata that changes when a file is rewritten."""

    inode: int
    mtime_ns: int
    nbytes: int


def _files(folder: Path) -> dict[Path, _FileStamp]:
    stamps = {}
    for path in [*folder.glob("*"), *folder.glob("*/*")] if folder.is_dir() else ():
        with suppress(OSError):  # removed concurrently
            if path.is_file():
                status = path.stat()
                stamps[path] = _FileStamp(status.st_ino, status.st_mtime_ns, status.st_size)
    return stamps
