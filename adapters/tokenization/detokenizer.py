"""Decode ids to text, at once or incrementally."""

import codecs
from collections.abc import Callable, Iterable

import attrs


def decode(to_bytes: Callable[[int], bytes], ids: Iterable[int], *, leading_spaces: int) -> str:
    """Return the text of ids; each invalid UTF-8 sequence becomes U+FFFD."""
    text = b"".join(map(to_bytes, ids)).decode("utf-8", "replace")
    return text[_count_leading_spaces(text, leading_spaces) :]


@attrs.define
class IncrementalDetokenizer:
    """Decode ids incrementally at a constant cost per id; incomplete characters are buffered."""

    to_bytes: Callable[[int], bytes]
    leading_spaces: int
    _utf8: codecs.IncrementalDecoder = attrs.field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), init=False, repr=False
    )

    def push(self, token: int) -> str:
        return self._strip_leading_spaces(self._utf8.decode(self.to_bytes(token)))

    def finish(self) -> str:
        """Return U+FFFD if a character is incomplete, else an empty string."""
        return self._strip_leading_spaces(self._utf8.decode(b"", final=True))

    def _strip_leading_spaces(self, text: str) -> str:
        if not self.leading_spaces or not text:
            return text
        spaces = _count_leading_spaces(text, self.leading_spaces)
        self.leading_spaces = self.leading_spaces - spaces if spaces == len(text) else 0
        return text[spaces:]


def _count_leading_spaces(text: str, limit: int) -> int:
    head = text[:limit]
    return len(head) - len(head.lstrip(" "))
