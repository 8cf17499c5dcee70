"""Find where tool calls begin in free text, token by token."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, Self

import attrs

_LONGEST_HEADER = 400


@attrs.frozen(eq=False)
class VocabularyTexts:
    """The texts of the tokens of a vocabulary, by id; special tokens have none."""

    texts: Sequence[bytes] = attrs.field(repr=False)
    _containing: dict[bytes, tuple[int, ...]] = attrs.field(factory=dict, init=False, repr=False)
    _continuing: dict[bytes, frozenset[int]] = attrs.field(factory=dict, init=False, repr=False)

    def containing(self, part: bytes) -> tuple[int, ...]:
        """Return the tokens with `part` in their text."""
        if part not in self._containing:
            self._containing[part] = tuple(token for token, text in enumerate(self.texts) if part in text)
        return self._containing[part]

    def continuing(self, mark: bytes) -> frozenset[int]:
        """Return the tokens whose text is `mark` with more after it."""
        if mark not in self._continuing:
            last = self.containing(mark[-1:])
            texts = self.texts
            self._continuing[mark] = frozenset(
                token for token in last if texts[token].startswith(mark) and texts[token] != mark
            )
        return self._continuing[mark]


class CallTrigger(Protocol):
    """Finds what begins a call. It always ends with a token: tokens that go beyond it are excluded."""

    def excluded(self) -> frozenset[int]:
        """Return the tokens that go beyond the trigger."""
        ...

    def push(self, text: bytes) -> Sequence[int] | None:
        """Add the text of a token.

        Returns:
            None if no call begins; otherwise the tokens that are already a part of the call.
        """
        ...

    def copy(self) -> Self:
        """Return a trigger without text."""
        ...


@attrs.define(kw_only=True)
class MarkTrigger:
    """A mark anywhere in the text, such as `<tool_call>`.

    Attributes:
        mark: The mark.
        vocabulary: The texts of the tokens.
    """

    mark: bytes
    vocabulary: VocabularyTexts
    _tail: bytes = attrs.field(default=b"", init=False)

    def excluded(self) -> frozenset[int]:
        mark = self.mark
        found = frozenset[int]()
        for length in range(1, min(len(mark), len(self._tail) + 1)):
            if self._tail.endswith(mark[:length]):
                found |= self.vocabulary.continuing(mark[length:])
        return found | self._beyond()

    def push(self, text: bytes) -> Sequence[int] | None:
        self._tail = (self._tail + text)[-max(len(self.mark), len(text)) :]
        return () if self._tail.endswith(self.mark) else None

    def copy(self) -> Self:
        return attrs.evolve(self)

    def _beyond(self) -> frozenset[int]:
        """Return the tokens that have all of the mark, and more after it."""
        texts = self.vocabulary.texts
        return frozenset(
            token for token in self.vocabulary.containing(self.mark) if not texts[token].endswith(self.mark)
        )


@attrs.define(kw_only=True)
class HeaderTrigger(MarkTrigger):
    """A mark in the header of a message, such as `to=functions.`; in a message, it is text.

    Attributes:
        begins: Begin a header.
        end: Ends a header.
        in_header: Whether the text begins in a header.
    """

    begins: tuple[bytes, ...]
    end: bytes
    in_header: bool = True
    _is_open: bool = attrs.field(init=False)
    _text: bytes = attrs.field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self._is_open = self.in_header

    def excluded(self) -> frozenset[int]:
        return super().excluded() if self._is_open else frozenset()

    def push(self, text: bytes) -> Sequence[int] | None:
        found = super().push(text) if self._is_open else None
        self._text += text
        marks = (self.end,) if self._is_open else self.begins
        ends = [at + len(mark) for mark in marks if (at := self._text.rfind(mark)) >= 0]
        if ends:
            self._is_open = not self._is_open
            self._text = self._tail = self._text[max(ends) :]
        elif not self._is_open:
            self._text = self._text[-max(map(len, marks)) :]
        elif len(self._text) > _LONGEST_HEADER:
            self._is_open = False
        return found if self._is_open else None


_WHITE_SPACE: Final = b" \t\r\n"
_BETWEEN: Final = (b"", b"{", b'{"name"', b'{"name":')
"""The beginnings of a call after which white space may follow."""


@attrs.define(kw_only=True)
class OpeningTrigger:
    """A call at the beginning of the text that no mark announces: `{"name": "…"` with the name of a tool.

    Attributes:
        openings: The tokens of such beginnings, by their text without white space between its parts.
        vocabulary: The texts of the tokens.
    """

    openings: Mapping[bytes, Sequence[int]]
    vocabulary: VocabularyTexts
    _head: bytes | None = attrs.field(default=b"", init=False)

    def excluded(self) -> frozenset[int]:
        head = self._head
        if head is None:
            return frozenset()
        missing = [len(opening) - len(head) for opening in self.openings if opening.startswith(head)]
        texts, least = self.vocabulary.texts, min(missing, default=0)
        return frozenset(
            token
            for token in self.vocabulary.containing(b'"')
            if len(texts[token]) > least and self._goes_beyond(_read(head, texts[token]))
        )

    def push(self, text: bytes) -> Sequence[int] | None:
        if self._head is None:
            return None
        head = _read(self._head, text)
        if head in self.openings:
            return self.openings[head]
        self._head = head if any(opening.startswith(head) for opening in self.openings) else None
        return None

    def copy(self) -> Self:
        return attrs.evolve(self)

    def _goes_beyond(self, head: bytes) -> bool:
        return any(head.startswith(opening) and head != opening for opening in self.openings)


def _read(head: bytes, text: bytes) -> bytes:
    """Return the beginning of a call with more text, without white space between its parts."""
    for at in range(len(text)):
        byte = text[at : at + 1]
        if byte not in _WHITE_SPACE or head not in _BETWEEN:
            head += byte
    return head
