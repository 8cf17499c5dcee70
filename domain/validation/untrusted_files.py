"""The edge of every reader: any exception of a parser becomes an error that names the file."""

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
"""Levels of nesting in a JSON or YAML file; known configs have fewer than ten."""

MAX_PICKLE_BYTES = 100_000_000
"""Bytes of the pickle in an archive of torch: it lists tensors and does not hold their values."""

_MAX_CAUSE = 300

_BASE_EXCEPTIONS = ("PanicException", "CheckpointException")
"""What libraries in Rust and torch.distributed.checkpoint raise for bad input, derived from BaseException."""


@contextmanager
def translate_read_errors(
    path: str | Path,
    *,
    missing: str = "the file does not exist.",
    reason: str = "it cannot be read",
    corrupt: Callable[[str, str], LitGPTError] = CorruptFile,
) -> Iterator[None]:
    """Turn every exception raised while a file is read into an error of this library.

    Parsers raise whatever their code happens to do with damaged input (struct.error, KeyError, IndexError,
    OverflowError, RecursionError, panics of libraries in Rust). A `Path` is checked first, so that a FIFO or
    a device is refused and never waited for.

    Args:
        path: The file; a string is only a name for the error.
        missing: Why it is needed, for the error of a file that does not exist.
        reason: What is wrong with a damaged file; the message of the exception follows in parentheses.
        corrupt: Makes the error from the file's name and a reason.

    Raises:
        MissingFile: The file does not exist.
        LitGPTError: As `corrupt` makes it; errors of this library pass unchanged.

    """
    try:
        if isinstance(path, Path):
            _check_regular(path, corrupt)
        yield
    except LitGPTError:
        raise
    except FileNotFoundError as error:
        absent = error.filename if isinstance(path, str) and error.filename else path
        raise MissingFile(printable(absent), missing) from error
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
    text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    return text if len(text) <= _MAX_CAUSE else f"{text[:100]}…{text[-100:]}"


def error_message(error: BaseException) -> str:
    """Return what an exception says, on one line of bounded length, with its type where that is needed."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = printable(" ".join(str(error)[: 4 * _MAX_CAUSE].split()))
    if said and isinstance(error, ValueError):  # its messages are sentences
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def read_json_file(path: Path, *, remedy: str) -> Any:
    """Return the value of a JSON file that a caller named.

    Args:
        path: The file.
        remedy: What to pass instead, for the errors.

    Raises:
        MissingFile: The file does not exist.
        DamagedFile: It cannot be read, or is not JSON.

    """
    damaged = partial(CorruptFile, remedy=remedy)
    with translate_read_errors(path, missing=remedy, corrupt=damaged):
        raw = path.read_bytes()
    with translate_read_errors(str(path), reason="it is not JSON", corrupt=damaged):
        return parse_json(raw)


def parse_json(raw: str | bytes) -> Any:
    """Return the value that a JSON file holds.

    Args:
        raw: The content, in UTF-8 with or without a byte order mark.

    Raises:
        ValueError: It is not JSON, is nested too deeply, or has text that UTF-8 cannot encode.

    """
    text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw.removeprefix("\ufeff")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    layer: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        layer = [one for held in layer if isinstance(held, (dict, list)) for one in _children(held)]
        if not layer:
            break
    else:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate raises a UnicodeEncodeError
    return value


def _children(held: dict[str, Any] | list[Any]) -> Iterator[Any]:
    yield from held.values() if isinstance(held, dict) else held


def check_pickle(raw: bytes) -> None:
    """Refuse a pickle that makes Python's own unpickler reserve memory which the file does not fill.

    It makes room for the largest number under which a value is remembered, and for the announced length of a
    bytearray, before it reads on.

    Raises:
        ValueError: It is such a pickle, or not a pickle.

    """
    for number, (operation, argument, _) in enumerate(pickletools.genops(raw)):
        if operation.name in ("BYTEARRAY8", "NEXT_BUFFER"):
            raise ValueError(f"its pickle has the operation {operation.name}, which tensors do not need")
        puts = operation.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if puts and not (isinstance(argument, int) and 0 <= argument <= number + 1):
            raise ValueError(f"its pickle remembers value {argument}, and has fewer")


def check_archive(path: Path, file: BinaryIO) -> None:
    """Refuse an archive that torch would read without a bound.

    torch stores every entry without compression, so an archive is never smaller than its entries; one whose
    entries are compressed or overlap takes more memory than it has bytes.

    Args:
        path: The file, for the error.
        file: The open file; its position is not kept.

    Raises:
        UnsafeFile: It is a bare pickle, as torch wrote before version 1.6.
        DamagedFile: It is not an archive of torch, or would take more memory than it has bytes.

    """
    if file.read(1) == b"\x80":
        raise UnsafeFile(str(path), "Save it again with torch 1.6 or later, or convert it to safetensors.")
    with translate_read_errors(str(path)), ZipFile(file) as archive:
        _check_entries(path, archive.infolist(), file.seek(0, 2))
        for entry in archive.infolist():
            if entry.filename.endswith("data.pkl") and b"\nbytearray\n" in archive.read(entry):
                raise CorruptFile(str(path), "it makes a bytearray, which may be of any size.")


def _check_entries(path: Path, entries: Sequence[ZipInfo], size: int) -> None:
    for entry in entries:
        name = printable(entry.filename)
        if entry.compress_type != ZIP_STORED:
            raise CorruptFile(str(path), f"its entry {name!r} is compressed, which torch never does.")
        if entry.filename.endswith("data.pkl") and entry.file_size > MAX_PICKLE_BYTES:
            raise CorruptFile(str(path), f"its list of tensors takes {entry.file_size} bytes.")
    if (total := sum(entry.file_size for entry in entries)) > size:
        raise CorruptFile(str(path), f"its entries have {total} bytes together, and the file has {size}.")
