"""Check pickles, and the archives in which torch writes them, before they are read."""

import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from litgpt.domain.errors import CorruptFile, UnsafeFile
from litgpt.domain.validation.untrusted_files import printable, translate_read_errors

MAX_PICKLE_BYTES = 100_000_000
"""Maximum bytes of the pickle in a torch archive, which does not contain the tensors' values."""


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
