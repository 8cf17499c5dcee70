"""Paths that a caller passes: `~` is expanded, and names that no file can have are refused."""

import os
from pathlib import Path

from litgpt.domain.errors import BadArgument, WrongType

_LONGEST_NAME = 255
"""Bytes of a name in a folder, on every common file system."""

_LONGEST_PATH = 4095


def local_path(name: str, value: object) -> Path:
    """Return an argument as a path, with `~` expanded.

    Args:
        name: The argument, for the error.
        value: A string or a path.

    Raises:
        WrongType: It is neither.
        BadArgument: No file can have this name.

    """
    if not isinstance(value, (str, os.PathLike)):
        raise WrongType(name, value, "a path")
    try:
        path = Path(value).expanduser()
        raw = os.fsencode(path)
    except RuntimeError as error:
        raise BadArgument(name, str(value), "a path in the home of a user of this machine") from error
    except (ValueError, TypeError) as error:  # a lone surrogate, or a path of bytes
        raise BadArgument(name, str(value), "a path in text that the file system can encode") from error
    if b"\0" in raw:
        raise BadArgument(name, str(value), "a path without NUL characters")
    if len(raw) > _LONGEST_PATH or max(map(len, raw.split(os.sep.encode()))) > _LONGEST_NAME:
        expected = f"a path of at most {_LONGEST_PATH} bytes, with names of at most {_LONGEST_NAME}"
        raise BadArgument(name, str(value), expected)
    return path
