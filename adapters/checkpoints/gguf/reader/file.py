"""GGUF files on disk, which are open only while they are read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import attrs

from litgpt.adapters.checkpoints.files.file_checks import missing_file
from litgpt.domain.errors import CorruptFile, InvalidCheckpoint


@attrs.frozen
class GgufFile:
    """A file and its size in bytes when its header was read."""

    path: Path
    size: int

    @contextmanager
    def open(self) -> Iterator[FileIO]:
        """Open the file for reading, or raise CorruptFile if its size has changed.

        The file is not kept open, so a checkpoint holds no handle and several threads can read at once.
        """
        with opened(self.path) as file:
            if os.fstat(file.fileno()).st_size != self.size:
                raise CorruptFile(str(self.path), "its length has changed since its header was read.")
            yield file

    def read(self, start: int, stop: int) -> bytes:
        with self.open() as file:
            file.seek(start)
            data = file.read(stop - start)
        if len(data) != stop - start:
            raise CorruptFile(str(self.path), f"it ends before byte {stop}.")
        return data


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """Open a file unbuffered, translating errors of the operating system."""
    try:
        with path.open("rb", buffering=0) as file:
            yield file
    except InvalidCheckpoint:
        raise
    except FileNotFoundError as error:
        raise missing_file(path, "there is no such file.") from error
    except OSError as error:
        raise CorruptFile(str(path), f"it cannot be read ({error.strerror or error}).") from error
