"""Grammars of tool calls in llguidance's dialect of Lark."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from litgpt.adapters.constraints.bare_key_lark import BareKeyValues
from litgpt.adapters.constraints.json_schema import JSON_WHITESPACE, prepare_schema
from litgpt.domain.tool_calls.deltas import dump_json
from litgpt.domain.tool_calls.grammar import (
    CallGrammar,
    CallId,
    FreeText,
    JSONText,
    Literal,
    Number,
    OneOf,
    OtherParameters,
    Parameter,
    Segment,
    ToolCallGrammar,
)

_ANY_TEXT = r"(.|\n)*"
_SPACES = "SPACES?"
_PARAMETERS = (Parameter, OtherParameters)
_CLOSING = '>"}'
"""Literals that begin with these follow without the white space that stands between other parts of a call."""
_RULES = r"""SPACES: /[ \n]{1,2}/
CALL_NUMBER: /[0-9]{1,3}/
CALL_ID: /[a-zA-Z0-9]{9}/
"""


@attrs.define
class LarkGrammar:
    """A grammar of tool calls, whose rules are written while its parts are.

    Attributes:
        special_ids: The ids of the marks that are special tokens.
        stop_token_ids: Of these marks, the ones that end the answer are not a part of the grammar.
    """

    special_ids: Mapping[str, int]
    stop_token_ids: frozenset[int]
    _rules: dict[str, str] = attrs.field(factory=dict, init=False)
    _marks: "re.Pattern[str]" = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        marks = sorted(self.special_ids, key=len, reverse=True)
        self._marks = re.compile(f"({'|'.join(map(re.escape, marks)) or '(?!)'})")

    def calls_after_trigger(self, grammar: ToolCallGrammar, *, parallel: bool) -> str:
        """Return the grammar of what follows the trigger."""
        begin = grammar.begin.partition(grammar.trigger)[2] if grammar.trigger else grammar.begin
        return self._document(self._calls(grammar, begin, parallel=parallel))

    def whole_answer(
        self, grammar: ToolCallGrammar, *, parallel: bool, in_message: bool, leading_spaces: int
    ) -> str:
        """Return the grammar of an answer that consists of at least one call."""
        calls = self._rule("calls", self._calls(grammar, grammar.begin, parallel=parallel))
        start = [self._text(" " * leading_spaces), _SPACES]
        if grammar.before and not any(map(self._ends_at_stop, grammar.before)):
            start += [self._sequence(grammar.before[1:])] if in_message else []
            start.append(f"({self._sequence(grammar.before)})*")
        repeats = parallel and not self.ends_answer(grammar.end)
        start.append(f"{calls} ({_SPACES} {calls})*" if repeats else calls)
        return self._document(" ".join(filter(None, start)))

    def ends_answer(self, mark: str) -> bool:
        """Return whether a mark is a stop token."""
        return self.special_ids.get(mark) in self.stop_token_ids

    def _ends_at_stop(self, segment: Segment) -> bool:
        return isinstance(segment, FreeText) and self.ends_answer(segment.until)

    def _document(self, start: str) -> str:
        rules = "".join(f"{name}: {body}\n" for name, body in self._rules.items())
        return f"start: {start}\n{rules}{_RULES}"

    def _calls(self, grammar: ToolCallGrammar, begin: str, *, parallel: bool) -> str:
        call = self._rule("call", " | ".join(self._call(call) for call in grammar.calls))
        parts = [call]
        if grammar.separator is not None and parallel:
            separator = [_SPACES, self._text(grammar.separator)] if grammar.separator else []
            parts.append(f"({' '.join([*separator, _SPACES, call])})*")
        opening = [self._text(begin)] if begin else []
        if grammar.trigger and not grammar.begin.endswith("."):  # as in to=functions.
            opening.append(_SPACES)
        end = [] if self.ends_answer(grammar.end) or not grammar.end else [_SPACES, self._text(grammar.end)]
        return " ".join([*opening, *parts, *end])

    def _call(self, call: CallGrammar) -> str:
        return self._sequence(call.segments)

    def _sequence(self, segments: Sequence[Segment], *, spaces: bool = True) -> str:
        parts: list[str] = []
        before: Segment = Literal("")
        for segment in segments:
            if isinstance(before, FreeText) and isinstance(segment, Literal):
                segment = Literal(segment.text.removeprefix(before.until))  # noqa: PLW2901 - it is read
            if segment == Literal(""):
                continue
            if parts and spaces and _allows_spaces(before, segment):
                parts.append(_SPACES)
            parts.append(self._segment(segment))
            before = segment
        return " ".join(parts)

    def _segment(self, segment: Segment) -> str:  # noqa: PLR0911 - one for each kind
        match segment:
            case Literal(text):
                return self._text(text)
            case JSONText(schema, quote):
                return self._json(schema) if quote is None else self._bare_key_value(schema, quote)
            case FreeText(until):
                return self._text_up_to(until)
            case OneOf(texts):
                return f"({' | '.join(map(self._text, texts))})"
            case Number():
                return "CALL_NUMBER"
            case CallId(begin):
                return f"({self._text(begin)} CALL_ID)?"
            case Parameter(_, required, parts):
                return f"({self._sequence(parts, spaces=False)} {_SPACES})" + ("" if required else "?")
            case OtherParameters(listed, begin, parts):
                name, after = self._other_name(listed), self._sequence(parts, spaces=False)
                return f"({self._text(begin.text)} {name} {after} {_SPACES})*"

    def _other_name(self, listed: Sequence[str]) -> str:
        """Return the name of an argument that is not one of those that are listed."""
        excluded = f" & ~/{'|'.join(map(escape_regex, listed))}/" if listed else ""
        return self._rule(f"NAME_{len(self._rules)}", rf"/[\p{{L}}_][\w.\-]{{0,63}}/{excluded}")

    def _json(self, schema: Mapping[str, Any]) -> str:
        prepared = json.loads(prepare_schema(json.dumps(schema)))
        return f"%json {json.dumps({**prepared, 'x-guidance': {'whitespace_pattern': JSON_WHITESPACE}})}"

    def _bare_key_value(self, schema: Mapping[str, Any], quote: str) -> str:
        return BareKeyValues(self._text, self._text_up_to(quote), quote, self._rules).value(schema)

    def _text(self, text: str) -> str:
        """Return fixed text, in which special tokens are tokens."""
        parts = [part for part in self._marks.split(text) if part]
        ids = self.special_ids
        return " ".join(f"<[{ids[part]}]>" if part in ids else dump_json(part) for part in parts)

    def _text_up_to(self, mark: str) -> str:
        """Return any text without a mark, and the mark."""
        number = len(self._rules)
        if mark in self.special_ids:
            spelled = "|".join(map(escape_regex, self.special_ids))  # the parser would read these as marks
            text = f"/{_ANY_TEXT}/ & ~/{_ANY_TEXT}({spelled}){_ANY_TEXT}/"
            return f"{self._rule(f'TEXT_{number}', text)}? {self._text(mark)}"
        # Lazy: it ends with the first mark.
        return self._rule(f"text_{number}[lazy]", f"/{_ANY_TEXT}{escape_regex(mark)}/").partition("[")[0]

    def _rule(self, name: str, body: str) -> str:
        self._rules[name] = body
        return name


def escape_regex(text: str) -> str:
    """Return the regular expression that matches only a text."""
    return "".join(letter if letter.isalnum() else f"\\x{{{ord(letter):X}}}" for letter in text)


def _allows_spaces(before: Segment, segment: Segment) -> bool:
    if isinstance(segment, Literal):
        return not isinstance(before, (*_PARAMETERS, Number, FreeText)) and segment.text[0] not in _CLOSING
    is_separate = isinstance(segment, (JSONText, *_PARAMETERS)) and not isinstance(before, _PARAMETERS)
    return is_separate and not (isinstance(before, Literal) and before.text[-1].isspace())
