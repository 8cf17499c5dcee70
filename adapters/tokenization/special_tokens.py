"""Match special tokens such as `<|im_end|>` in a text, without a tokenizer library."""

import re
from collections.abc import Iterator, Mapping

import attrs

from litgpt.adapters.tokenization.added_tokens import AddedToken
from litgpt.domain.chat.special_token_escapes import ESCAPE

_NO_FLAGS = AddedToken("", special=True)
_WORD = re.compile(r"\w")


@attrs.frozen
class SpecialTokenSplitter:
    """Split a text at special tokens; the leftmost and then the longest match is used.

    `flags` has the tokens that strip whitespace or match only single words.
    """

    ids: Mapping[str, int] = attrs.field(repr=False)
    flags: Mapping[str, AddedToken] = attrs.field(factory=dict, repr=False)
    _first_letters: re.Pattern[str] = attrs.field(init=False, repr=False)
    _lengths: tuple[int, ...] = attrs.field(init=False, repr=False)

    @_first_letters.default
    def _find_first_letters(self) -> re.Pattern[str]:
        # An alternation of thousands of tokens would be tried one after another, but they begin with only a
        # few different characters.
        letters = "".join(sorted({re.escape(token[0]) for token in self.ids}))
        return re.compile(f"[{letters}]" if letters else r"(?!)")

    @_lengths.default
    def _find_lengths(self) -> tuple[int, ...]:
        return tuple(sorted({len(token) for token in self.ids}, reverse=True))

    def split(self, text: str) -> Iterator[str | int]:
        start = at = 0
        while match := self._first_letters.search(text, at):
            at = match.start()
            token = next((text[at : at + n] for n in self._lengths if text[at : at + n] in self.ids), None)
            if token is None:
                at += 1
                continue
            end = at + len(token)
            flags = self.flags.get(token, _NO_FLAGS)
            if flags.single_word and (_WORD.match(text, end) or (at and _WORD.match(text, at - 1))):
                at = end
                continue
            before = text[start:at].rstrip() if flags.lstrip else text[start:at]
            if before:
                yield before
            yield self.ids[token]
            start = at = end + (len(text[end:]) - len(text[end:].lstrip()) if flags.rstrip else 0)
        if start < len(text):
            yield text[start:]

    def escape(self, text: str, *, part: bool = True) -> str:
        """Return `text` with ESCAPE before the last character of each special token in it.

        If other text may follow (`part`), ESCAPE is also appended to a beginning of a special token at the
        end, which later text could complete.
        """
        positions = sorted(self._escape_positions(text, part=part))
        if not positions:
            return text
        bounds = zip([0, *positions], [*positions, len(text)], strict=True)
        return ESCAPE.join(text[start:stop] for start, stop in bounds)

    def _escape_positions(self, text: str, *, part: bool) -> set[int]:
        longest = self._lengths[0] if self._lengths else 0
        positions: set[int] = set()
        for match in self._first_letters.finditer(text):
            at = match.start()
            tokens = {text[at : at + n] for n in self._lengths} & self.ids.keys()
            positions.update(at + len(token) - 1 for token in tokens)
            rest = text[at:] if part and len(text) - at < longest and not match[0].isspace() else ""
            if rest and any(token.startswith(rest) and token != rest for token in self.ids):
                positions.add(len(text))
        return positions
