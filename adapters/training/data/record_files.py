"""Read records from JSON, JSON Lines and Parquet files, with their locations for error messages."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.training.errors import DataNotFound, InvalidData
from litgpt.domain.validation.untrusted_files import printable, translate_read_errors

RECORD_SUFFIXES = (".json", ".jsonl", ".parquet")
"""The suffixes of the supported file formats."""

LONGEST_LINE = 2**28
"""The maximum length of a line of JSON Lines, in bytes; parsing holds several copies of it."""

_SPACE = re.compile(r"[ \t\r\n]*")


def split_files(path: Path) -> tuple[Path, Path | None]:
    """Return the training file and the validation file, if any, of a file or a folder of records."""
    if path.is_file():
        _check_suffix(path)
        return path, None
    if not path.is_dir():
        raise DataNotFound(str(path), hint="Pass a file, or a folder with train.json and val.json.")
    train, val = (
        next((file for suffix in RECORD_SUFFIXES if (file := path / f"{part}{suffix}").is_file()), None)
        for part in ("train", "val")
    )
    if train is None:
        hint = "A folder needs a file train.json, .jsonl or .parquet."
        raise DataNotFound(str(path / "train.json"), hint=hint)
    return train, val


def _check_suffix(path: Path) -> None:
    if path.suffix not in RECORD_SUFFIXES:
        raise InvalidData(str(path), f"its name does not end in {', '.join(RECORD_SUFFIXES)}.")


@attrs.frozen
class Record:
    """A decoded record that has not been validated; `where` is its file, and its line or number."""

    where: str
    value: object


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file. JSON Lines and Parquet files are streamed."""
    with translate_read_errors(printable(path), corrupt=InvalidData):
        is_there = path.is_file()
    if not is_there:
        raise DataNotFound(str(path), hint="Pass a file that is on disk.")
    from litgpt.adapters.training.data.parquet import read_parquet

    kinds = {".json": _json, ".jsonl": _lines, ".parquet": read_parquet}
    _check_suffix(path)
    read = None
    with translate_read_errors(path, corrupt=InvalidData):
        for read in kinds[path.suffix](path):
            yield read
    if read is None:
        raise InvalidData(str(path), "it has no records.")


@contextmanager
def naming_record(where: str) -> Iterator[None]:
    """Name the record in any error that a template or a tokenizer raises."""
    try:
        yield
    except (InvalidData, MemoryError):
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, LitGPTError) else f"{type(error).__name__}: {error}"
        raise InvalidData(where, reason) from error


def not_utf8(path: Path) -> InvalidData:
    """Return the error for a file that is not encoded in UTF-8, with the first line that is not."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return InvalidData(f"{path}, line {number}", f"it is not encoded in UTF-8 ({error}).")
    return InvalidData(str(path), "it is not encoded in UTF-8.")


def _json(path: Path) -> Iterator[Record]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    begin = _after_space(text, 0)
    if text.startswith("{", begin):  # some data sets on the Hub are JSON Lines with this suffix
        yield from _lines(path)
    elif begin < len(text):
        yield from _elements(path, text, begin)


def _elements(path: Path, text: str, begin: int) -> Iterator[Record]:
    """Yield the elements of a JSON list, each with the number of its first line."""
    decoder, line, counted = json.JSONDecoder(), 1, 0
    if text[begin] != "[":
        raise InvalidData(str(path), "it is not a list of records.")
    at = _after_space(text, begin + 1)
    number, is_open = 0, not text.startswith("]", at)
    while is_open:
        number += 1
        line, counted = line + text.count("\n", counted, at), at
        where = f"{path}, line {line} (record {number})"
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _not_json(error, path, where, record=f" (record {number})") from error
        yield Record(where, value)
        at = _after_space(text, at)
        if not text.startswith((",", "]"), at):
            raise InvalidData(where, "it is not JSON: neither a comma nor the end of the list follows it.")
        is_open = text[at] == ","
        at = _after_space(text, at + 1) if is_open else at
    if _after_space(text, at + 1) < len(text):
        line += text.count("\n", counted, at)
        raise InvalidData(f"{path}, line {line}", "it is not JSON: something follows the list of records.")


def _not_json(
    error: Exception, path: Path, where: str, *, lines_before: int = 0, record: str = ""
) -> InvalidData:
    """Return the error for invalid JSON, with the line and column in the file if they are known."""
    if not isinstance(error, json.JSONDecodeError):
        return InvalidData(where, f"it is not JSON: {error}.")
    location = f"{path}, line {lines_before + error.lineno}, column {error.colno}{record}"
    reason = error.msg.removesuffix(" at").removesuffix(" starting")
    return InvalidData(location, f"it is not JSON: {reason}.")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # noqa: S101 - the pattern also matches the empty string
    return match.end()


def _lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
            where = f"{path}, line {number}"
            if len(line) > LONGEST_LINE:
                raise InvalidData(where, f"the line has more than {LONGEST_LINE:,} bytes. Divide the record.")
            try:
                # Without the line break: an incomplete record would be reported at the next line.
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if text.strip():
                    yield Record(where, json.loads(text))
            except UnicodeDecodeError as error:
                raise InvalidData(where, f"it is not encoded in UTF-8 ({error}).") from error
            except (ValueError, RecursionError) as error:
                raise _not_json(error, path, where, lines_before=number - 1) from error
