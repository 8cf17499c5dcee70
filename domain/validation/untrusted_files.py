"""Read untrusted files: exceptions of parsers become errors that name the file."""

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from litgpt.domain.errors import CorruptFile, LitGPTError, MissingFile

MAX_DEPTH = 100
"""Maximum nesting of a JSON or YAML file; known configs have fewer than ten levels."""

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


def parse_json(raw: str | bytes, *, max_depth: int = MAX_DEPTH, **hooks: Any) -> Any:
    """Parse JSON in UTF-8; raise ValueError also for deep nesting and lone surrogates.

    `hooks` are those of `json.loads`, such as `object_pairs_hook`.
    """
    text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw.removeprefix("\ufeff")
    try:
        value = json.loads(text, **hooks)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    layer: list[Any] = [value]
    for _ in range(max_depth):
        layer = [child for node in layer if isinstance(node, (dict, list)) for child in _children(node)]
        if not layer:
            break
    else:
        raise ValueError(f"it is nested deeper than {max_depth} levels")
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate raises a UnicodeEncodeError
    return value


def _children(node: dict[str, Any] | list[Any]) -> Iterator[Any]:
    yield from node.values() if isinstance(node, dict) else node
