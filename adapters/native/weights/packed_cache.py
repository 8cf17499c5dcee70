"""Packed weights in files of the user's cache, for models whose weights take long to quantize.

A file has a header in JSON and the matrices, which are read into the memory in which they would be packed:
from a mapped file, whose pages are small, matrices are multiplied more slowly.
"""

import hashlib
import json
import logging
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import attrs
import numpy as np

from litgpt.adapters.native.library import LIBRARY
from litgpt.adapters.native.matrix import MatrixMemory, PackedMatrix, packed_bytes
from litgpt.adapters.native.structures import Format
from litgpt.application.files.atomic_write import atomic_write, remove_abandoned
from litgpt.application.files.free_space import free_bytes
from litgpt.domain.ports import Checkpoint
from litgpt.domain.weights.mapping import ParameterSource

logger = logging.getLogger(__name__)

VERSION = 1
"""To be raised when the same tensors are packed differently. (A rebuilt library changes the key as well.)"""

MAX_BYTES = 16 << 30
"""Maximum size of all files; the least recently used ones are removed."""

Plan: TypeAlias = Sequence[tuple[ParameterSource, Format]]
"""The matrices of a model and their formats."""

_BEGINNING = struct.Struct("<16sQ32s")  # magic, length of the header, its SHA-256
_MAGIC = b"litgpt packed\0\0\0"
_MAX_HEADER = 1 << 26
_ALIGNMENT = 64


@attrs.frozen
class CacheEntry:
    """The file of a model in a format.

    Attributes:
        path: The file, whose name is the SHA-256 of all that its content depends on.
        plan: The matrices.
        max_bytes: Maximum size of all files in the folder.
    """

    path: Path
    plan: Plan = attrs.field(repr=False)
    max_bytes: int = attrs.field(factory=lambda: MAX_BYTES)

    def read(self, memory: MatrixMemory) -> dict[str, PackedMatrix]:
        """Return the matrices by their names; none if the file does not exist or is not valid."""
        try:
            with os.fdopen(_open_regular(self.path), "rb", buffering=0) as file:
                matrices = self._read(file, memory)
            with suppress(OSError):  # in a folder that cannot be written
                os.utime(self.path)  # it was used
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, struct.error) as error:
            logger.info("%s is not used: %s", self.path, error)
            return {}
        return matrices

    def write(self, matrices: Mapping[str, PackedMatrix]) -> None:
        """Write the file, and remove others if the folder is too large; errors are only logged."""
        size = _first_matrix(self._header()) + self._layout()[1]
        try:
            if size > min(self.max_bytes, free_bytes(self.path.parent) // 2):
                return
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove_abandoned(self.path.parent)
            self._make_room(size)
            atomic_write(self.path, lambda file: self._write(file, matrices))
        except OSError as error:
            logger.info("%s is not written: %s", self.path, error)

    def _layout(self) -> tuple[list[tuple[str, int, int, int, int, int]], int]:
        """Return the name, format, shape, start and size of each matrix, and the end of the last one.

        They start after the header, and are relative to the first one.
        """
        entries: list[tuple[str, int, int, int, int, int]] = []
        start = 0
        for source, target in self.plan:
            name, (rows, columns) = source.parameter.name, source.parameter.shape
            nbytes = packed_bytes(target, rows, columns)
            start += -start % _ALIGNMENT
            entries.append((name, int(target), rows, columns, start, nbytes))
            start += nbytes
        return entries, start

    def _header(self) -> bytes:
        entries, end = self._layout()
        return json.dumps({"key": self.path.stem, "matrices": entries, "size": end}).encode()

    def _read(self, file: Any, memory: MatrixMemory) -> dict[str, PackedMatrix]:
        magic, length, digest = _BEGINNING.unpack(file.read(_BEGINNING.size))
        if magic != _MAGIC or length > _MAX_HEADER:
            raise ValueError("it does not have the format of this version.")
        header = file.read(length)
        if hashlib.sha256(header).digest() != digest or header != self._header():
            raise ValueError("its header is damaged, or of another model.")
        base = _first_matrix(header)
        entries, end = self._layout()
        if os.fstat(file.fileno()).st_size != base + end:
            raise ValueError(f"it does not have {base + end} bytes.")
        matrices: dict[str, PackedMatrix] = {}
        for name, target, rows, columns, start, nbytes in entries:
            data = memory.zeros(nbytes)
            _read_into(file, base + start, data.data)
            matrices[name] = PackedMatrix(Format(target), rows, columns, data)
        return matrices

    def _write(self, file: BinaryIO, matrices: Mapping[str, PackedMatrix]) -> None:
        if hasattr(os, "fchmod"):
            os.fchmod(file.fileno(), 0o600)
        header = self._header()
        file.write(_BEGINNING.pack(_MAGIC, len(header), hashlib.sha256(header).digest()) + header)
        base = _first_matrix(header)
        for name, _, _, _, start, _ in self._layout()[0]:
            file.write(bytes(base + start - file.tell()))
            file.write(matrices[name].data.data)

    def _make_room(self, size: int) -> None:
        """Remove the least recently used files until `size` bytes may be written."""
        files = [(path.stat(), path) for path in self.path.parent.glob("*.packed") if path != self.path]
        total = size + sum(status.st_size for status, _ in files)
        for status, path in sorted(files, key=lambda file: file[0].st_mtime_ns):
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= status.st_size


def cache_entry(checkpoint: Checkpoint[Any], plan: Plan) -> CacheEntry | None:
    """Return the file of a model; None if its weights are not those of unchanged files."""
    folder = cache_folder()
    key = None if folder is None else _key(checkpoint, plan)
    return None if folder is None or key is None else CacheEntry(folder / f"{key}.packed", plan)


def cache_folder() -> Path | None:
    """Return the folder: in LITGPT_CACHE, which is empty for none, or in the cache folder of the user."""
    configured = os.environ.get("LITGPT_CACHE")
    if configured == "":
        return None
    try:
        user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # without a home
        return None
    return (Path(configured) if configured else user / "litgpt") / "packed"


def _key(checkpoint: Checkpoint[Any], plan: Plan) -> str | None:
    """Return the SHA-256 of the files of the tensors, and of which rows of them are packed how."""
    library = LIBRARY.stat()
    digest = hashlib.sha256(repr((VERSION, library.st_size, library.st_mtime_ns)).encode())
    for source, target in plan:
        digest.update(repr((source.parameter.name, source.parameter.shape, int(target))).encode())
        for view in source.views:
            raw = checkpoint.raw(view.name)
            if raw is None or any(part.file is None for part in raw.parts):
                return None
            facts = view.name, view.strided_layout, raw.shape, raw.transposed, raw.offset
            digest.update(repr(facts).encode())
            for part in raw.parts:
                digest.update(repr((part.file, part.storage_format)).encode())
                digest.update(np.asarray(part.row_numbers, dtype=np.int64).tobytes())
    return digest.hexdigest()


def _open_regular(path: Path) -> int:
    """Open a regular file of this user, without following a link, and return its descriptor."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, os.O_RDONLY | flags)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and (not hasattr(os, "getuid") or status.st_uid == os.getuid()):
        return descriptor
    os.close(descriptor)
    raise OSError("it is not a regular file of this user.")


def _read_into(file: Any, start: int, data: memoryview) -> None:
    file.seek(start)
    while data:
        count = file.readinto(data)
        if not count:
            raise ValueError("it ends within a matrix.")
        data = data[count:]


def _first_matrix(header: bytes) -> int:
    """Return where the first matrix starts in a file with this header."""
    end = _BEGINNING.size + len(header)
    return end + -end % _ALIGNMENT
