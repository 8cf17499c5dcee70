"""Read untrusted files: exceptions of parsers become errors that name the file."""

import json
import pickletools
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from litgpt.domain.errors import CorruptFile, LitGPTError, MissingFile, UnsafeFile

MAX_DEPTH = 100
"""Maximum nesting of a JSON or YAML file; known configs have fewer than ten levels."""

MAX_PICKLE_BYTES = 100_000_000
"""Maximum bytes of the pickle in a torch archive, which does not contain the tensors' values."""

_MAX_CAUSE = 300

_BASE_EXCEPTIONS = ("PanicException", "CheckpointException")
"""Subclasses of BaseException that Rust libraries and torch.distributed.checkpoint raise for bad input."""


@contextmanager
def translate_read_errors(
    path: str | Path,
    *,
    missing: str = "the file does not exist.",
    reason: str = "it cannot be read",
    corrupt: Callable[[str, str], LitGPTError] = CorruptFile,
) -> Iterator[None]:
    """Translate all exceptions while a file is read into errors of this library.

    Parsers raise many exceptions for damaged input (struct.error, KeyError, IndexError, OverflowError,
    RecursionError, panics of Rust libraries). A `Path` is checked first, so that a FIFO or device does not
    block; a string is only a name for the error. `missing` and `reason` explain a missing and a damaged file,
    and `corrupt` returns the error for a file name and a reason.
    """
    try:
        if isinstance(path, Path):
            _check_regular(path, corrupt)
        yield
    except LitGPTError:
        raise
    except FileNotFoundError as error:
        name = error.filename if isinstance(path, str) and error.filename else path
        raise MissingFile(printable(name), missing) from error
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ not in _BASE_EXCEPTIONS:
            raise
        raise corrupt(printable(path), f"{reason} ({error_message(error)}).") from error


def _check_regular(path: Path, corrupt: Callable[[str, str], LitGPTError]) -> None:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise corrupt(printable(path), f"it is {kind}.")


def printable(path: str | Path) -> str:
    """Return a path for a message, on one line, without control characters and lone surrogates."""
    text = str(path)
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= _MAX_CAUSE else f"{text[:100]}…{text[-100:]}"


def error_message(error: BaseException) -> str:
    """Return the message of an exception on one line of bounded length, with its type if necessary."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "it needs more memory than is available"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    message = printable(" ".join(str(error)[: 4 * _MAX_CAUSE].split()))
    if message and isinstance(error, ValueError):  # its messages are sentences
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def read_json_file(path: Path, *, remedy: str) -> Any:
    """Read a JSON file whose path the user passed; the errors are MissingFile and CorruptFile."""
    damaged = partial(CorruptFile, remedy=remedy)
    with translate_read_errors(path, missing=remedy, corrupt=damaged):
        raw = path.read_bytes()
    with translate_read_errors(str(path), reason="it is not JSON", corrupt=damaged):
        return parse_json(raw)


def parse_json(raw: str | bytes) -> Any:
    """Parse JSON in UTF-8; raise ValueError also for deep nesting and lone surrogates."""
    text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw.removeprefix("\ufeff")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    layer: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        layer = [child for node in layer if isinstance(node, (dict, list)) for child in _children(node)]
        if not layer:
            break
    else:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate raises a UnicodeEncodeError
    return value


def _children(node: dict[str, Any] | list[Any]) -> Iterator[Any]:
    yield from node.values() if isinstance(node, dict) else node


def check_pickle(raw: bytes) -> None:
    """Raise ValueError for a pickle whose unpickling allocates more memory than the file has bytes.

    The unpickler allocates its memo up to the largest index, and a bytearray by its declared length, before
    it reads them.
    """
    for number, (operation, argument, _) in enumerate(pickletools.genops(raw)):
        if operation.name in ("BYTEARRAY8", "NEXT_BUFFER"):
            raise ValueError(f"its pickle has the operation {operation.name}, which tensors do not need")
        puts = operation.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if puts and not (isinstance(argument, int) and 0 <= argument <= number + 1):
            raise ValueError(f"its pickle has the memo index {argument}, but fewer values")


def check_archive(path: Path, file: BinaryIO) -> None:
    """Reject a torch archive whose content needs more memory than the file has bytes.

    torch stores entries uncompressed, so an archive is never smaller than the sum of its entries, unless they
    are compressed or overlap.

    Raises:
        UnsafeFile: It is a bare pickle, as written by torch before version 1.6.
        CorruptFile: It is not a torch archive, or its content is larger than the file.
    """
    if file.read(1) == b"\x80":
        raise UnsafeFile(str(path), "Save it again with torch 1.6 or later, or convert it to safetensors.")
    with translate_read_errors(str(path)), ZipFile(file) as archive:
        _check_entries(path, archive.infolist(), file.seek(0, 2))
        for entry in archive.infolist():
            if entry.filename.endswith("data.pkl") and b"\nbytearray\n" in archive.read(entry):
                raise CorruptFile(str(path), "its pickle contains a bytearray, which may have any size.")


def _check_entries(path: Path, entries: Sequence[ZipInfo], size: int) -> None:
    for entry in entries:
        name = printable(entry.filename)
        if entry.compress_type != ZIP_STORED:
            raise CorruptFile(str(path), f"its entry {name!r} is compressed, which torch never does.")
        if entry.filename.endswith("data.pkl") and entry.file_size > MAX_PICKLE_BYTES:
            raise CorruptFile(str(path), f"its data.pkl has {entry.file_size} bytes.")
    if (total := sum(entry.file_size for entry in entries)) > size:
        raise CorruptFile(str(path), f"its entries have {total} bytes in total, but the file has {size}.")
