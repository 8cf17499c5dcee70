"""A GGUF file on disk, opened for as long as each reading takes."""

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
    """A file, and how long it was when its header was read.

    Attributes:
        path: Where it is.
        size: Its length in bytes.

    """

    path: Path
    size: int

    @contextmanager
    def open(self) -> Iterator[FileIO]:
        """Open the file for reading.

        Nothing stays open in between, so a checkpoint holds no handle and several threads may read at once.

        Raises:
            CorruptFile: It is not as long as it was when its header was read, or cannot be read.

        """
        with opened(self.path) as file:
            if os.fstat(file.fileno()).st_size != self.size:
                raise CorruptFile(str(self.path), "its length has changed since its header was read.")
            yield file

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to `stop`."""
        with self.open() as file:
            file.seek(start)
            found = file.read(stop - start)
        if len(found) != stop - start:
            raise CorruptFile(str(self.path), f"it ends before byte {stop}.")
        return found


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """Open a file without a buffer; what the operating system says against it is told in our words.

    Raises:
        MissingFile: There is none.
        CorruptFile: It cannot be read.

    """
    try:
        with path.open("rb", buffering=0) as file:
            yield file
    except InvalidCheckpoint:
        raise
    except FileNotFoundError as error:
        raise missing_file(path, "there is no such file.") from error
    except OSError as error:
        raise CorruptFile(str(path), f"it cannot be read ({error.strerror or error}).") from error
