"""Stop strings: text that ends an answer and is not part of it."""

from collections.abc import Sequence

import attrs

from litgpt.domain.errors import BadArgument, WrongType


def stop_strings(stop: object) -> tuple[str, ...]:
    """Return `stop` (None, a string or a list of strings) as a tuple, or say what is wrong with it."""
    if stop is None:
        return ()
    strings = (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, Sequence) or not all(isinstance(one, str) for one in strings):
        raise WrongType("stop", stop, "a string or a list of strings")
    if not all(strings):
        raise BadArgument("stop", stop, "free of empty strings, which would stop every answer at once")
    return tuple(strings)


@attrs.define
class StopStrings:
    """Passes text on as it comes, and holds back what may be the beginning of a stop string.

    Attributes:
        strings: What to stop at. The one that ends first wins; of those, the longest.
        stopped: Whether one has come; nothing is passed on after it.

    """

    strings: tuple[str, ...]
    stopped: bool = attrs.field(default=False, init=False)
    _held: str = attrs.field(default="", init=False)

    def push(self, piece: str) -> str:
        """Return what can be shown for certain, now that `piece` has come."""
        if self.stopped or not self.strings:
            return "" if self.stopped else piece
        text = self._held + piece
        found = [(text.find(one) + len(one), -len(one)) for one in self.strings if one in text]
        if found:
            end, minus_length = min(found)
            self.stopped, self._held = True, ""
            return text[: end + minus_length]
        keep = max(self._overlap(text, one) for one in self.strings)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return what was held back, when nothing more will come."""
        rest, self._held = self._held, ""
        return rest

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Return how many characters at the end of `text` begin `stop`."""
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                return length
        return 0
