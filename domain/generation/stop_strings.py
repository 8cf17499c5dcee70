"""Stop strings: text that ends an answer and is not part of it."""

from collections.abc import Sequence

import attrs

from litgpt.domain.errors import InvalidArgument, WrongType


def parse_stop_strings(stop: object) -> tuple[str, ...]:
    """Return `stop` (None, a string or a list of strings) as a tuple, or say what is wrong with it."""
    if stop is None:
        return ()
    strings = (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, Sequence) or not all(isinstance(one, str) for one in strings):
        raise WrongType("stop", stop, "a string or a list of strings")
    if not all(strings):
        raise InvalidArgument("stop", stop, "free of empty strings, which would stop every answer at once")
    return tuple(strings)


@attrs.define
class StopStringMatcher:
    """Passes text on as it comes, and holds back what may be the beginning of a stop string.

    Attributes:
        stop_strings: What to stop at. The one that ends first wins; of those, the longest.
        stopped: Whether one has come; nothing is passed on after it.

    """

    stop_strings: tuple[str, ...]
    stopped: bool = attrs.field(default=False, init=False)
    _buffer: str = attrs.field(default="", init=False)

    def push(self, chunk: str) -> str:
        """Return what can be shown for certain, now that `chunk` has come."""
        if self.stopped or not self.stop_strings:
            return "" if self.stopped else chunk
        text = self._buffer + chunk
        found = [(text.find(one) + len(one), -len(one)) for one in self.stop_strings if one in text]
        if found:
            end, minus_length = min(found)
            self.stopped, self._buffer = True, ""
            return text[: end + minus_length]
        keep = max(self._overlap(text, one) for one in self.stop_strings)
        self._buffer = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what was held back, when nothing more will come."""
        rest, self._buffer = self._buffer, ""
        return rest

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Return how many characters at the end of `text` begin `stop`."""
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                return length
        return 0
