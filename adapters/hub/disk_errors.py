"""Convert file system errors of the cache to errors with a remedy."""

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
    """Convert an OSError to an UnsupportedOperation that names the file (or `folder`) and the remedy."""
    try:
        yield
    except LitGPTError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        name = error.filename if isinstance(error.filename, (str, bytes)) else None
        path = folder if name is None else Path(os.fsdecode(name))
        prefix = "" if path is None else f"{printable(path)}: "
        remedy = "Set HF_HOME to a writable folder"
        if error.errno in _DISK_FULL:
            disk = folder or path
            free = "" if disk is None else f"{free_bytes(disk) / 1e9:.2f} GB are free. "
            remedy = f"{free}Free disk space, or set HF_HOME to a folder on another disk"
        raise UnsupportedOperation(operation, f"{prefix}{error_message(error)}. {remedy}.") from error
