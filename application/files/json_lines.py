"""Files of JSON lines: read lazily, appended to line by line, continued after an interruption, and merged."""

import gzip
import json
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Self

import attrs

from litgpt.application.files.atomic_write import atomic_write, lock
from litgpt.application.files.id_set import IdSet
from litgpt.domain.errors import LitGPTError, UnsupportedOperation
from litgpt.domain.validation.untrusted_files import error_message

STDOUT = Path("/dev/stdout")
"""The path of the standard output, which is only written to: nothing in it is continued or discarded."""

GZIP = b"\x1f\x8b"
"""The first bytes of a file that is compressed with gzip."""


@contextmanager
def translated_errors(operation: str) -> Iterator[None]:
    """Translate errors of files; a broken pipe remains one, as its reader has had enough."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, (LitGPTError, BrokenPipeError)):
            raise
        raise UnsupportedOperation(operation, f"{error_message(error).removesuffix('.')}.") from error


def open_input(path: Path | None) -> AbstractContextManager[BinaryIO]:
    """Open a file, or stdin; it may be compressed with gzip, unless it is a pipe.

    Raises:
        UnsupportedOperation: It cannot be read.
    """
    if path is None:
        if sys.stdin is None:  # closed, as by `<&-`
            raise UnsupportedOperation("Reading stdin", "it is closed.")
        stdin = sys.stdin.buffer
        if _is_compressed(stdin):
            return gzip.open(stdin)  # type: ignore[return-value]
        return nullcontext(stdin)
    with translated_errors(f"Reading {path}"):
        file = path.open("rb")
        if not _is_compressed(file):
            return file
        file.close()
        return gzip.open(path)  # type: ignore[return-value]


def _is_compressed(file: Any) -> bool:
    return is_regular(file.fileno()) and bool(file.peek(2)[:2] == GZIP)


def is_regular(descriptor: int) -> bool:
    """Return whether an open file is on a disk, and not a pipe, a terminal or a device."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def count_lines(file: BinaryIO, has: Callable[[int], bool]) -> int | None:
    """Return the number of lines that are left in a file; None if it cannot be read twice, as a pipe.

    Args:
        file: A file.
        has: Whether a line, by its number from 1, is counted; blank lines are not.
    """
    if not is_regular(file.fileno()):
        return None
    start = file.tell()
    count = sum(has(number) and not line.isspace() for number, line in enumerate(file, 1))
    file.seek(start)
    return count


@attrs.define(eq=False)
class JsonLinesOutput:
    """A file of JSON objects, one a line, to which each is appended by one write.

    Attributes:
        done: The ids of the objects that it had when it was opened.
        num_errors: The number of these that are errors.
    """

    path: Path
    done: IdSet = attrs.field(factory=IdSet, init=False)
    num_errors: int = attrs.field(default=0, init=False)
    _descriptor: int = attrs.field(default=-1, init=False)

    def open(self, *, overwrite: bool = False) -> Self:
        """Read the ids of the file, and remove an incomplete line at its end, which a killed process left.

        Args:
            overwrite: Whether what is in the file is to be discarded, by `clear`.

        Raises:
            UnsupportedOperation: It is not the output of a batch, cannot be opened, or another process is
                writing to it.
        """
        if self.path == STDOUT:  # perhaps a file that has other lines before
            self._descriptor = os.dup(1)
            return self
        with translated_errors(f"Writing to {self.path}"):
            # To read from a pipe as well would keep it open when its reader ends.
            access = os.O_WRONLY if self.path.exists() and not self.path.is_file() else os.O_RDWR
            self._descriptor = os.open(self.path, access | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            if is_regular(self._descriptor):
                self._lock()
                if not overwrite:
                    self._resume()
        except BaseException:
            self.close()
            raise
        return self

    def clear(self) -> None:
        """Discard what is in the file."""
        if self.path != STDOUT and is_regular(self._descriptor):
            os.ftruncate(self._descriptor, 0)

    def _lock(self) -> None:
        try:
            lock(self._descriptor)
        except BlockingIOError as error:
            reason = "another process is writing to it."
            raise UnsupportedOperation(f"Writing to {self.path}", reason) from error
        except OSError:
            return  # some network file systems do not support locks

    def _resume(self) -> None:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            complete = 0
            for row in _rows(file, f"Continuing {self.path}"):
                complete += len(row.raw)
                self.done.add(row.id)
                self.num_errors += row.is_error
        os.ftruncate(self._descriptor, complete)

    def write(self, value: Mapping[str, Any]) -> None:
        """Append an object.

        Raises:
            UnsupportedOperation: The disk is full, for example.
        """
        raw = json.dumps(value, ensure_ascii=False, separators=(", ", ": ")).encode() + b"\n"
        with translated_errors(f"Writing to {self.path}"):
            while raw:  # usually written at once
                raw = raw[os.write(self._descriptor, raw) :]

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@attrs.frozen
class _Row:
    raw: bytes
    id: str | int
    is_error: bool


def _rows(file: Iterable[bytes], operation: str) -> Iterator[_Row]:
    """Yield the complete lines of an output."""
    for number, raw in enumerate(file, 1):
        if not raw.endswith(b"\n"):
            return
        try:
            value = json.loads(raw)
            name = value["custom_id"] if "custom_id" in value else value["id"]
            if isinstance(name, bool) or not isinstance(name, (str, int)):
                raise TypeError("its id is neither a string nor an integer")  # noqa: TRY301
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            reason = f"its line {number} is not from the output of a batch ({error_message(error)})."
            advice = "Choose another path, or pass overwrite=True to discard the file."
            raise UnsupportedOperation(operation, f"{reason} {advice}") from error
        yield _Row(raw, name, value.get("error") is not None)


def merge(paths: Iterable[Path], output: Path) -> tuple[int, int]:
    """Join outputs into one file, which is replaced atomically; an id that several have is kept once.

    Returns:
        The number of lines, and how many of these are errors.

    Raises:
        UnsupportedOperation: A file is not the output of a batch, or cannot be read or written.
    """
    seen = IdSet()
    num_errors = 0

    def write(merged: BinaryIO) -> None:
        nonlocal num_errors
        for path in paths:
            with path.open("rb") as file:
                for row in _rows(file, f"Merging {path}"):
                    if seen.add(row.id):
                        num_errors += row.is_error
                        merged.write(row.raw)

    with translated_errors(f"Merging {output}"):
        atomic_write(output, write)
    return len(seen), num_errors
