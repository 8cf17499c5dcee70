"""Stop strings, which end an answer and usually are not part of it."""

from collections.abc import Sequence

import attrs

from litgpt.domain.errors import InvalidArgument, WrongType


def parse_stop_strings(stop: object) -> tuple[str, ...]:
    """Return `stop` (None, a string or a list of strings) as a tuple of non-empty strings."""
    if stop is None:
        return ()
    strings = (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, Sequence) or not all(isinstance(string, str) for string in strings):
        raise WrongType("stop", stop, "a string or a list of strings")
    if not all(strings):
        raise InvalidArgument("stop", stop, "free of empty strings, which would stop every answer at once")
    return tuple(strings)


@attrs.frozen
class StopStrings:
    """Strings that end an answer.

    Attributes:
        strings: The stop strings. The match that ends first counts; among several, the longest.
        included: Those that stay in the text.
    """

    strings: tuple[str, ...] = ()
    included: tuple[str, ...] = ()


NO_STOP_STRINGS = StopStrings()


@attrs.define
class StopStringMatcher:
    """Streams text, and withholds text that may be the beginning of a stop string.

    Attributes:
        stop_strings: The stop strings.
        stopped: Whether a stop string was found; no text is returned after it.
    """

    stop_strings: StopStrings
    stopped: bool = attrs.field(default=False, init=False)
    _buffer: str = attrs.field(default="", init=False)

    def push(self, chunk: str) -> str:
        """Return the text that cannot be part of a stop string, after appending `chunk`."""
        strings = self.stop_strings.strings
        if self.stopped or not strings:
            return "" if self.stopped else chunk
        text = self._buffer + chunk
        matches = [(text.find(stop) + len(stop), -len(stop)) for stop in strings if stop in text]
        if matches:
            end, minus_length = min(matches)
            begin = end + minus_length
            self.stopped, self._buffer = True, ""
            return text[: end if text[begin:end] in self.stop_strings.included else begin]
        keep = max(self._overlap(text, stop) for stop in strings)
        self._buffer = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return the withheld text at the end of the stream."""
        rest, self._buffer = self._buffer, ""
        return rest

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Return the length of the longest suffix of `text` that is a proper prefix of `stop`."""
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                return length
        return 0
