"""Documents to pretrain on: text files and files of records, read a piece at a time."""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from litgpt.adapters.training.data.record_files import RECORD_SUFFIXES, not_utf8, read_records
from litgpt.domain.training.errors import DataNotFound, InvalidData
from litgpt.domain.training.records import parse_text
from litgpt.domain.validation.untrusted_files import translate_read_errors

FOLDER_SUFFIXES = (".txt", ".jsonl", ".parquet")
"""What is read of a folder; other files in it are notes."""

CHUNK_CHARACTERS = 1 << 20
"""How many characters of a document are in memory at a time."""

_LINE = re.compile(r"\n(?=\S)")


def document_files(path: Path) -> tuple[Path, ...]:
    """Return a file, or those of a folder in the order of their names.

    Raises:
        DataNotFound: There is no such file or folder.
        InvalidData: The folder has nothing to read.

    """
    with translate_read_errors(str(path), corrupt=InvalidData):
        if path.is_file():
            return (path,)
        if not path.is_dir():
            raise DataNotFound(str(path), hint="Pass a text file, or a folder of them.")
        found = sorted(one for one in path.iterdir() if one.suffix in FOLDER_SUFFIXES and one.is_file())
    if not found:
        raise InvalidData(str(path), f"it has no files that end in {', '.join(FOLDER_SUFFIXES)}.")
    return tuple(found)


@attrs.frozen
class Document:
    """A document of a file.

    Attributes:
        where: The file, and the line or the number of the record.
        chunks: Its text, a piece at a time.
        line: The line of the file on which it begins; None for a record.

    """

    where: str
    chunks: Iterator[str]
    line: int | None = None


def documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a file: a text file is one, and each record's `text` is one.

    Raises:
        InvalidData: A record has no text, or the file is not encoded in UTF-8.

    """
    if path.suffix in RECORD_SUFFIXES:
        for record in read_records(path):
            yield Document(record.where, iter((parse_text(record.value, location=record.where),)))
    else:
        yield Document(str(path), _chunks(path), 1)


def _chunks(path: Path) -> Iterator[str]:
    """Yield a text in pieces that end where a line does, so that words are not taken apart."""
    with translate_read_errors(path, corrupt=InvalidData):
        try:
            with path.open(encoding="utf-8-sig") as file:
                text = file.read(CHUNK_CHARACTERS)
                while following := file.read(CHUNK_CHARACTERS):
                    cut = _chunk_end(text)
                    yield text[:cut]
                    text = text[cut:] + following
                yield text
        except UnicodeDecodeError as error:
            raise not_utf8(path) from error


def _chunk_end(text: str) -> int:
    """Return where to end a piece: after a line, before a space, or anywhere in a text that has neither."""
    ends = [found.end() for found in _LINE.finditer(text)]
    space = text.rfind(" ")
    return ends[-1] if ends else space if space > 0 else len(text)
