"""Streaming Markdown renderer for terminals.

Output is never redrawn, so that scrolling, copying and slow connections work as with plain text. Emphasis is
therefore buffered until it is closed; it is shown literally if its line ends, or `MAX_PENDING` characters
arrive, before that. The rules are CommonMark's (https://spec.commonmark.org/0.31.2/) with two exceptions for
code and formulas: `*` within a word, as in `2*3*4`, and `__`, as in `__init__`, are literal. Tables and links
are not rendered.
"""

import re
from collections.abc import Iterator

import attrs

MAX_PENDING = 200
"""The maximum number of characters of a bold, italic or code span."""

BOLD, DIM, ITALIC, UNDERLINED, CYAN = "1", "2", "3", "4", "36"
BULLET, BAR = "•", "│"

# The beginning of a line that may still become a marker.
_UNDECIDED = re.compile(r" *(#{0,6} *|[-+*_ ]*|>|`{0,2}|~{0,2})")
_FENCE = re.compile(r" *(`{3,}|~{3,})(?!.*`)")
_RULE = re.compile(r" *([-*_])( *\1){2,} *")
_MARKER = re.compile(r"(?P<indent> *)(?:(?P<heading>#{1,6}) +|(?P<bullet>[-+*]) +|(?P<quote>>) ?)")
_PLAIN = re.compile(r"[^\\`*_]+")
_RUN = re.compile(r"`+|\*+|_+")
_ESCAPABLE = "`*_#"
_EMPHASIS = {1: (ITALIC,), 2: (BOLD,), 3: (BOLD, ITALIC)}


class MarkdownStream:
    """Renders one answer incrementally; without `styled`, the text is returned unchanged."""

    def __init__(self, *, styled: bool) -> None:
        self._styled = styled
        self._pending = ""
        self._previous = ""  # the character before the pending text
        self._at_start = True
        self._fence = ""
        self._line_styles: tuple[str, ...] = ()

    def feed(self, piece: str) -> str:
        """Append `piece` and return the text that can be shown."""
        if not self._styled:
            return piece
        self._pending += piece
        shown = []
        while "\n" in self._pending:
            line, _, rest = self._pending.partition("\n")
            self._pending = line
            shown += [*self._render(ended=True), "\n"]
            self._pending, self._at_start, self._previous, self._line_styles = rest, True, "", ()
        return "".join([*shown, *self._render(ended=False)])

    def finish(self) -> str:
        """Return the buffered text at the end of the answer."""
        return "".join(self._render(ended=True))

    def _render(self, *, ended: bool) -> Iterator[str]:
        """Yield the unambiguous part of the pending line, and buffer the rest."""
        if self._at_start:
            if not ended and (_UNDECIDED.fullmatch(self._pending) or _FENCE.match(self._pending)):
                return
            self._at_start = False
            yield self._begin_line()
        if self._fence:
            yield _sgr(self._pending, (CYAN,))
            self._pending = ""
        else:
            shown, length = _inline(self._pending, self._line_styles, self._previous, ended=ended)
            self._previous = self._pending[length - 1 : length] or self._previous
            self._pending = self._pending[length:]
            yield shown

    def _begin_line(self) -> str:
        """Remove the marker from the beginning of the pending line, and return its rendering."""
        line = self._pending
        fence = _FENCE.match(line)
        if fence and (not self._fence or (fence[1].startswith(self._fence) and line.strip() == fence[1])):
            self._fence = "" if self._fence else fence[1]
            self._pending = ""
            return _sgr(line, (DIM,))
        if self._fence:
            return ""
        if _RULE.fullmatch(line):
            self._pending = ""
            return _sgr(line, (DIM,))
        if not (marked := _MARKER.match(line)):
            return ""
        self._pending = line[marked.end() :]
        if heading := marked["heading"]:
            self._line_styles = (BOLD, UNDERLINED) if len(heading) == 1 else (BOLD,)
            return ""
        return marked["indent"] + (f"{BULLET} " if marked["bullet"] else _sgr(f"{BAR} ", (DIM,)))


@attrs.frozen
class _Span:
    """A part of a line with one style, up to the index `end`.

    Attributes:
        needed: Number of characters of the line that must have arrived for the span to be unambiguous.
        nested: Whether it can contain spans.
    """

    text: str
    end: int
    needed: int
    styles: tuple[str, ...] = ()
    nested: bool = False


def _inline(text: str, styles: tuple[str, ...], previous: str, *, ended: bool) -> tuple[str, int]:
    """Render the spans of a line, or of its rest after the character `previous`.

    Return also the number of characters of `text` that are rendered: all if the text `ended` the line.
    """
    shown, at = [], 0
    while at < len(text):
        span = _span(text, at, text[at - 1] if at else previous)
        if not ended and span.needed > len(text):
            break
        within = styles + span.styles
        shown.append(
            _inline(span.text, within, "", ended=True)[0] if span.nested else _sgr(span.text, within)
        )
        at = span.end
    return "".join(shown), at


def _span(text: str, at: int, previous: str) -> _Span:
    if plain := _PLAIN.match(text, at):
        return _Span(plain[0], plain.end(), plain.end())
    if not (run := _RUN.match(text, at)):  # a backslash
        escaped = text[at + 1 : at + 2]
        if escaped and escaped in _ESCAPABLE:
            return _Span(escaped, at + 2, at + 2)
        return _Span(text[at], at + 1, at + 2)
    return _marked(text, run[0], run.end(), previous)


def _marked(text: str, marks: str, start: int, previous: str) -> _Span:
    """Return the span that the delimiters before `start` open, or the delimiters as literal text."""
    if not _opens(marks, previous, text[start : start + 1]):
        return _Span(marks, start, start + 1)
    closing = _closing(marks).search(text, start, start + MAX_PENDING)
    if not closing:
        return _Span(marks, start, start + MAX_PENDING)
    content = text[start : closing.start()]
    needed = min(closing.end() + 1, start + MAX_PENDING)
    if marks[0] == "`":
        padded = content.strip() and content[0] == content[-1] == " "
        return _Span(content[1:-1] if padded else content, closing.end(), needed, (CYAN,))
    return _Span(content, closing.end(), needed, _EMPHASIS[len(marks)], nested=True)


def _opens(marks: str, previous: str, following: str) -> bool:
    if marks[0] == "`":
        return True
    if marks[0] == "_" and len(marks) > 1:
        return False
    within_word = previous.isalnum() and len(marks) == 1
    return len(marks) in _EMPHASIS and bool(following.strip()) and not within_word


def _closing(marks: str) -> re.Pattern[str]:
    mark = re.escape(marks[0])
    if marks[0] == "`":
        return re.compile(rf"(?<!`){marks}(?!`)")
    before = rf"\s\\{mark}" if len(marks) == 1 else r"\s\\"
    after = rf"{mark}\w" if len(marks) == 1 else mark
    return re.compile(rf"(?<![{before}]){re.escape(marks)}(?![{after}])")


def _sgr(text: str, styles: tuple[str, ...]) -> str:
    return f"\x1b[{';'.join(styles)}m{text}\x1b[0m" if text and styles else text
