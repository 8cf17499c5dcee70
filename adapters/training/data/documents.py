"""Read pretraining documents from text files and record files, in chunks."""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from litgpt.adapters.training.data.record_files import RECORD_SUFFIXES, not_utf8, read_records
from litgpt.domain.training.errors import DataNotFound, InvalidData
from litgpt.domain.training.records import parse_text
from litgpt.domain.validation.untrusted_files import translate_read_errors

FOLDER_SUFFIXES = (".txt", ".jsonl", ".parquet")
"""The suffixes of the files that are read in a folder; other files are ignored."""

CHUNK_CHARACTERS = 1 << 20
"""The size of the chunks in which a document is read."""

_LINE = re.compile(r"\n(?=\S)")


def document_files(path: Path) -> tuple[Path, ...]:
    """Return a file, or the document files of a folder in alphabetical order."""
    with translate_read_errors(str(path), corrupt=InvalidData):
        if path.is_file():
            return (path,)
        if not path.is_dir():
            raise DataNotFound(str(path), hint="Pass a text file, or a folder of text files.")
        files = sorted(file for file in path.iterdir() if file.suffix in FOLDER_SUFFIXES and file.is_file())
    if not files:
        raise InvalidData(str(path), f"it has no files that end in {', '.join(FOLDER_SUFFIXES)}.")
    return tuple(files)


@attrs.frozen
class Document:
    """A document; `where` is its location for messages, `line` its first line, or None for a record."""

    where: str
    chunks: Iterator[str]
    line: int | None = None


def documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a file: the whole text file, or the `text` of each record."""
    if path.suffix in RECORD_SUFFIXES:
        for record in read_records(path):
            yield Document(record.where, iter((parse_text(record.value, location=record.where),)))
    else:
        yield Document(str(path), _chunks(path), 1)


def _chunks(path: Path) -> Iterator[str]:
    """Yield a text in chunks that end at line ends, so that words are not split."""
    with translate_read_errors(path, corrupt=InvalidData):
        try:
            with path.open(encoding="utf-8-sig") as file:
                text = file.read(CHUNK_CHARACTERS)
                while following := file.read(CHUNK_CHARACTERS):
                    end = _chunk_end(text)
                    yield text[:end]
                    text = text[end:] + following
                yield text
        except UnicodeDecodeError as error:
            raise not_utf8(path) from error


def _chunk_end(text: str) -> int:
    """Return the end of a chunk: after the last line, before the last space, or the end of the text."""
    ends = [match.end() for match in _LINE.finditer(text)]
    space = text.rfind(" ")
    return ends[-1] if ends else space if space > 0 else len(text)
