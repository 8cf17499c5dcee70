"""From ids back to text, all at once or one by one."""

import codecs
from collections.abc import Callable, Iterable

import attrs


def decode(spell: Callable[[int], bytes], ids: Iterable[int], *, leading_spaces: int) -> str:
    """Return the text of some ids; bytes that are no UTF-8 become U+FFFD, one for each broken character."""
    text = b"".join(map(spell, ids)).decode("utf-8", "replace")
    return text[_spaces(text, leading_spaces) :]


@attrs.define
class StreamDecoder:
    """Yields text as ids come, at a constant cost for each; a character waits for its last byte.

    Attributes:
        spell: The bytes of a token.
        leading_spaces: How many spaces before the text are not part of it.

    """

    spell: Callable[[int], bytes]
    leading_spaces: int
    _utf8: codecs.IncrementalDecoder = attrs.field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), init=False, repr=False
    )

    def push(self, token: int) -> str:
        """Return the text that is certain now that `token` has come."""
        return self._after_spaces(self._utf8.decode(self.spell(token)))

    def finish(self) -> str:
        """Return U+FFFD for a character that was begun and not completed, else nothing."""
        return self._after_spaces(self._utf8.decode(b"", final=True))

    def _after_spaces(self, text: str) -> str:
        if not self.leading_spaces or not text:
            return text
        spaces = _spaces(text, self.leading_spaces)
        self.leading_spaces = self.leading_spaces - spaces if spaces == len(text) else 0
        return text[spaces:]


def _spaces(text: str, at_most: int) -> int:
    """Return how many spaces `text` begins with, but not more than `at_most`."""
    head = text[:at_most]
    return len(head) - len(head.lstrip(" "))
