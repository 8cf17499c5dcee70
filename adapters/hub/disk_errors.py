"""The disk that the cache is on: what the system says against using it, as an error with the remedy."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from litgpt.application.files.free_space import free_bytes
from litgpt.domain.errors import LitGPTError, UnsupportedOperation
from litgpt.domain.validation.untrusted_files import error_message, printable

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def translate_disk_errors(operation: str, folder: Path | None = None) -> Iterator[None]:
    """Turn an error of the file system into one that names the file and the remedy.

    Args:
        operation: What the cache is used for, for the error.
        folder: The cache, for errors that name no file.

    Raises:
        UnsupportedOperation: The disk is full, or the cache cannot be read or written to.

    """
    try:
        yield
    except LitGPTError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        named = error.filename if isinstance(error.filename, (str, bytes)) else None
        where = folder if named is None else Path(os.fsdecode(named))
        at = "" if where is None else f"{printable(where)}: "
        remedy = "Set HF_HOME to a folder that can be written to"
        if error.errno in _DISK_FULL:
            there = folder or where
            free = "" if there is None else f"{free_bytes(there) / 1e9:.2f} GB are free. "
            remedy = f"{free}Make room, or set HF_HOME to a folder on another disk"
        raise UnsupportedOperation(operation, f"{at}{error_message(error)}. {remedy}.") from error
