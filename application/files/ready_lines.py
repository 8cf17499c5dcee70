"""The lines of a file, without waiting for those that a pipe or a terminal does not have yet."""

import os
import select
from collections.abc import Callable, Iterator
from typing import BinaryIO

from litgpt.application.files.json_lines import GZIP, is_regular
from litgpt.domain.errors import UnsupportedOperation

_BLOCK = 1 << 16
_SECONDS = 0.1
"""The longest time between two looks at whether to end."""


def ready_lines(file: BinaryIO, may_wait: Callable[[], bool]) -> Iterator[bytes | None]:
    """Yield the lines of a file; None if the next is not ready, after a short time if the caller may wait.

    Args:
        file: A file, of which nothing has been read.
        may_wait: Whether the caller has nothing else to do.

    Raises:
        UnsupportedOperation: It is a pipe of data that are compressed with gzip.
    """
    if os.name != "posix" or is_regular(file.fileno()):
        yield from file  # of which all lines are ready; Windows has no way to ask
        return
    begun: list[bytes] = []  # parts of a line
    is_first = True
    while True:
        if not select.select([file], [], [], _SECONDS if may_wait() else 0)[0]:
            yield None
            continue
        block = os.read(file.fileno(), _BLOCK)
        if is_first and block.startswith(GZIP):
            reason = "the pipe is compressed with gzip. Decompress it first, for example with gunzip -c."
            raise UnsupportedOperation("Reading the input", reason)
        is_first = False
        *lines, rest = block.split(b"\n")
        for line in lines:
            yield b"".join((*begun, line, b"\n"))
            begun.clear()
        if rest:
            begun.append(rest)
        if not block:
            if begun:
                yield b"".join(begun)
            return
