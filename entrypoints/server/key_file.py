"""Read API keys from a file, or from the variable LITGPT_API_KEYS."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from litgpt.domain.errors import CorruptFile, InvalidArgument
from litgpt.domain.formatting.redaction import Redacted
from litgpt.domain.validation.untrusted_files import printable, translate_read_errors

VARIABLE = "LITGPT_API_KEYS"

_MOST_BYTES = 1024 * 1024


def read_key_file(path: Path) -> tuple[tuple[str, ...], str | None]:
    """Read API keys from a file: one a line; empty lines and those that begin with # are skipped.

    Returns:
        The keys, and a warning if other users of the machine can read the file.

    Raises:
        MissingFile: The file does not exist.
        CorruptFile: It has no key, is not in UTF-8 or is longer than 1 MiB.
    """
    remedy = "Write one key a line."
    with translate_read_errors(
        path, missing="it should have the API keys, one a line.", reason="it is not text"
    ):
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise CorruptFile(printable(path), "it is longer than 1 MiB.", remedy)
        lines = [line.strip() for line in raw.decode("utf-8-sig").splitlines()]
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:  # no keys would mean that nobody needs one
        raise CorruptFile(printable(path), "it has no API key.", remedy)
    warning = None
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        name = printable(path)
        warning = f"{name} has API keys, but other users can read it. Run: chmod 600 {name}"
    return keys, warning


def keys_of_environment(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the API keys of LITGPT_API_KEYS, separated by commas or white space; empty if it is not set.

    Raises:
        InvalidArgument: The variable is set, but has no key.
    """
    if VARIABLE not in environment:
        return ()
    keys = tuple(environment[VARIABLE].replace(",", " ").split())
    if not keys:  # perhaps a secret that was not filled in; the server must not be open because of that
        raise InvalidArgument(VARIABLE, Redacted(), "one or more keys, separated by commas, or unset")
    return keys
