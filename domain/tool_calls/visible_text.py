"""Text between tool calls and reasoning, without the white space that belongs to their marks."""

from collections.abc import Callable

import attrs


@attrs.define
class TextBlocks:
    """Text in blocks, of which the white space at the ends of the whole, and after a mark, is dropped.

    White space before a mark is kept if more text follows the mark. An answer without marks is unchanged.

    Attributes:
        emit: Called with pieces of the text, which are never empty.
        after_mark: Whether a mark was the last thing before the current text.
        written: Whether any text has been emitted.
    """

    emit: Callable[[str], None] = attrs.field(repr=False)
    after_mark: bool = False
    written: bool = attrs.field(default=False, init=False)
    _spaces: str = attrs.field(default="", init=False)

    def add(self, text: str) -> None:
        if self.after_mark:
            text = text.lstrip()
            if not text:
                return
            self.after_mark = False
        text = self._spaces + text
        body = text.rstrip()
        self._spaces = text[len(body) :]
        if body:
            self.emit(body)
            self.written = True

    def mark(self, separator: str = "") -> None:
        """Note a mark. `separator` is put before the text that follows, if there is text before it."""
        self.after_mark = True
        if not self.written:
            self._spaces = ""
        elif separator:
            self._spaces = separator

    def finish(self) -> None:
        """Emit the white space at the end, unless a mark follows or precedes it."""
        if self._spaces and not self.after_mark:
            self.emit(self._spaces)
        self._spaces = ""
