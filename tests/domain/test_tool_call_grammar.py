"""What the grammar of a format describes is what its parser reads."""

import json
from typing import Any

import pytest

from litgpt.domain.tool_calls import known_formats as known
from litgpt.domain.tool_calls.deltas import ParsedAnswer
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, ToolCallFormat
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
    tool_call_grammar,
)
from litgpt.domain.tool_calls.parser import AnswerParser
from tests.domain.tool_call_answers import SCHEMAS, parse, write_bare

FORMATS = known.TOOL_CALL_FORMATS
ARGUMENTS: dict[str, Any] = {"city": "Rome <b>", "days": 3, "tags": ["a", 1], "exact": False}


def write(segment: Segment, value: Any) -> str:  # noqa: PLR0911 - one for each kind
    """Return a text that a segment allows."""
    match segment:
        case Literal(text):
            return text
        case JSONText(_, quote):
            return json.dumps(value) if quote is None else write_bare(value)
        case FreeText():
            return value if isinstance(value, str) else "x"
        case Number():
            return "3"
        case CallId(begin):
            return f"{begin}abc45XYZ9"
        case OneOf(texts):
            return texts[0]
        case OtherParameters():
            return ""
        case Parameter(name, required, segments):
            assert required is (name == "city")
            return "".join(write(part, value[name]) for part in segments) if name in value else ""


def call_text(call: CallGrammar, arguments: dict[str, Any]) -> str:
    return "".join(write(segment, arguments) for segment in call.segments)


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_the_parser_reads_what_the_grammar_allows(form: ToolCallFormat | ChannelFormat) -> None:
    grammar = tool_call_grammar(form, SCHEMAS)
    assert [call.name for call in grammar.calls] == ["weather", "now"]
    assert grammar.trigger in grammar.begin
    weather, now = (call_text(call, args) for call, args in zip(grammar.calls, (ARGUMENTS, {}), strict=True))
    if grammar.separator is None:
        texts = [f"{grammar.begin}{weather}{grammar.end}", f"{grammar.begin}{now}{grammar.end}"]
    else:
        texts = [f"{grammar.begin}{weather}{grammar.separator}{now}{grammar.end}"]
    calls = [call for text in texts for call in parse(AnswerFormat(form), [text]).answer.tool_calls]
    assert [(call.name, call.arguments) for call in calls] == [("weather", ARGUMENTS), ("now", {})]


def test_a_string_is_free_text_only_if_nothing_restricts_it() -> None:
    optional: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    number: dict[str, Any] = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    schema: dict[str, Any] = {
        "properties": {
            "a": {"type": "string"},
            "b": {"type": ["string", "null"], "enum": ["x", None]},
            "c": {},
            "d": optional,
            "e": number,
        }
    }
    (call,) = tool_call_grammar(known.QWEN3_CODER, {"f": schema}).calls
    values = [segment.segments[1] for segment in call.segments if isinstance(segment, Parameter)]
    assert values == [
        FreeText("</parameter>"),
        OneOf(("x", "null")),
        JSONText({}),
        FreeText("</parameter>"),
        JSONText(number),
    ]


def test_a_text_that_looks_like_json_is_a_string_if_its_schema_says_so() -> None:
    schemas = {"f": {"properties": {"d": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}}
    parser = AnswerParser(AnswerFormat(known.GLM4), schemas)
    text = "<tool_call>f<arg_key>d</arg_key><arg_value>17</arg_value></tool_call>"
    (call,) = ParsedAnswer.from_deltas([*parser.push(text), *parser.finish()]).tool_calls
    assert call.arguments == {"d": "17"}
