"""Server-sent events, read line by line with bounded memory."""

from collections.abc import Iterator
from typing import Protocol

from litgpt.cli.remote.errors import RequestFailed

MAX_LINE = 1 << 20
"""The longest line of a stream in bytes."""
MAX_EVENT = 4 << 20
"""The most data of one event in bytes."""

_REMEDY = "Check that --url is an OpenAI-compatible server."


class LineReader(Protocol):
    """What lines are read from, such as an `HTTPResponse`."""

    def readline(self, limit: int = ..., /) -> bytes: ...


def read_events(stream: LineReader) -> Iterator[str]:
    """Yield the data of each event, and "" for each comment, with which a server shows that it is alive.

    Events without data are skipped. An event that the end of the stream cuts off is dropped.

    Raises:
        RequestFailed: A line or an event is too long, or is not UTF-8.
    """
    data: list[bytes] = []
    size = 0
    for line in _lines(stream):
        if not line:
            if data:
                yield _decode(b"\n".join(data))
            data, size = [], 0
            continue
        name, _, value = line.partition(b":")
        if not name:
            yield ""
        elif name == b"data":
            size += len(value)
            if size > MAX_EVENT:
                raise RequestFailed("The server sent an event that is too long.", _REMEDY)
            data.append(value.removeprefix(b" "))


def _lines(stream: LineReader) -> Iterator[bytes]:
    """Yield complete lines, without their ends."""
    first = True
    while (line := stream.readline(MAX_LINE + 1)).endswith(b"\n"):
        if first:
            line, first = line.removeprefix(b"\xef\xbb\xbf"), False
        yield line.rstrip(b"\r\n")
    if len(line) > MAX_LINE:
        raise RequestFailed("The server sent a line that is too long.", _REMEDY)


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RequestFailed("The server sent text that is not UTF-8.", _REMEDY) from error
