"""Text that arrives in chunks, read by coroutines that wait for what they need.

Each reader decides only on text that further text cannot change, so the result does not depend on the chunks.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import TypeAlias, TypeVar

import attrs

T = TypeVar("T")
Reading: TypeAlias = Generator[None, None, T]
"""A coroutine that yields when it needs more text, and returns a result."""

_LONGEST_NAME = 256


class UnparsableCall(Exception):
    """The text is not a tool call; internal to the parser, which treats it as visible text."""


@attrs.define
class TextStream:
    """The text that has arrived and is not read yet.

    Attributes:
        ended: Whether all text has arrived.
    """

    ended: bool = attrs.field(default=False, init=False)
    _buffer: str = attrs.field(default="", init=False)
    _position: int = attrs.field(default=0, init=False)
    _taken: list[str] = attrs.field(factory=list, init=False)

    def feed(self, text: str) -> None:
        self._buffer = self._buffer[self._position :] + text
        self._position = 0

    @property
    def rest(self) -> str:
        return self._buffer[self._position :]

    def start_record(self) -> None:
        """Begin a record of the text that is read, for `record`."""
        self._taken = []

    @property
    def record(self) -> str:
        """The text that has been read since `start_record`."""
        return "".join(self._taken)

    def take(self, length: int) -> str:
        """Read `length` characters, which have arrived."""
        text = self._buffer[self._position : self._position + length]
        self._position += length
        self._taken.append(text)
        return text

    def need(self, length: int) -> Reading[bool]:
        """Wait for `length` characters; return False if the text ends before them."""
        while len(self._buffer) - self._position < length:
            if self.ended:
                return False
            yield
        return True

    def at(self, mark: str) -> Reading[bool]:
        """Return whether `mark` follows; False for an empty mark."""
        while True:
            if self._buffer.startswith(mark, self._position):
                return bool(mark)
            if self.ended or not mark.startswith(self.rest):
                return False
            yield

    def at_any(self, marks: Iterable[str]) -> Reading[bool]:
        for mark in marks:
            if (yield from self.at(mark)):
                return True
        return False

    def at_end(self) -> Reading[bool]:
        return not (yield from self.need(1))

    def skip(self, mark: str, *, may_be_cut: bool = False) -> Reading[bool]:
        """Read `mark` if it follows; return whether it does.

        With `may_be_cut`, the beginning of the mark suffices at the end of the text.
        """
        found = yield from self.at(mark)
        if not found and may_be_cut and self.ended and self.rest and mark.startswith(self.rest):
            self.take(len(self.rest))
            return True
        if found:
            self.take(len(mark))
        return found

    def expect(self, mark: str) -> Reading[None]:
        """Read white space and `mark`.

        Raises:
            UnparsableCall: Other text follows.
        """
        yield from self.skip_spaces()
        if mark and not (yield from self.skip(mark)):
            raise UnparsableCall

    def skip_spaces(self) -> Reading[None]:
        while (yield from self.need(1)):
            spaces = len(self.rest) - len(self.rest.lstrip())
            if not spaces:
                return
            self.take(spaces)

    def name(self, ends: Sequence[str]) -> Reading[str]:
        """Read a name up to one of the marks `ends`, which is not read.

        Raises:
            UnparsableCall: It is empty, or too long for a name.
        """
        name = ""
        while not (yield from self.at_any(ends)):
            if len(name) == _LONGEST_NAME or not (yield from self.need(1)):
                raise UnparsableCall
            name += self.take(1)
        if not name.strip():
            raise UnparsableCall
        return name.strip()

    def piece(self, marks: Sequence[str]) -> Reading[str]:
        """Read some text before the next of the marks; empty if a mark or the end follows."""
        while True:
            rest = self.rest
            limit = min((at for mark in marks if (at := rest.find(mark)) >= 0), default=len(rest))
            if not self.ended:  # what may be the beginning of a mark waits
                limit = min(limit, *(len(rest) - _overlap(rest, mark) for mark in marks), len(rest))
            if limit:
                return self.take(limit)
            if self.ended or (rest and any(rest.startswith(mark) for mark in marks)):
                return ""
            yield


def _overlap(text: str, mark: str) -> int:
    """Return the length of the longest suffix of `text` that is a proper prefix of `mark`."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
