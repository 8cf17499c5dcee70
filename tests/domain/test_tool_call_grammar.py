"""What the grammar of a format describes is what its parser reads."""

import json
from typing import Any

import pytest

from litgpt.domain.tool_calls import known_formats as known
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, ToolCallFormat
from litgpt.domain.tool_calls.grammar import (
    CallGrammar,
    FreeText,
    JSONText,
    Literal,
    OneOf,
    Parameter,
    Segment,
    tool_call_grammar,
)
from tests.domain.tool_call_answers import SCHEMAS, parse, write_bare

FORMATS = known.TOOL_CALL_FORMATS
ARGUMENTS: dict[str, Any] = {"city": "Rome <b>", "days": 3, "tags": ["a", 1], "exact": False}


def write(segment: Segment, value: Any) -> str:
    """Return a text that a segment allows."""
    match segment:
        case Literal(text):
            return text
        case JSONText(_, quote):
            return json.dumps(value) if quote is None else write_bare(value)
        case FreeText():
            return value if isinstance(value, str) else "0"
        case OneOf(texts):
            return texts[0]
        case Parameter(name, required, segments):
            assert required is (name == "city")
            return "".join(write(part, value[name]) for part in segments) if name in value else ""


def call_text(call: CallGrammar, arguments: dict[str, Any]) -> str:
    return "".join(write(segment, arguments) for segment in call.segments)


@pytest.mark.parametrize("form", FORMATS, ids=[form.name for form in FORMATS])
def test_the_parser_reads_what_the_grammar_allows(form: ToolCallFormat | ChannelFormat) -> None:
    grammar = tool_call_grammar(form, SCHEMAS)
    assert [call.name for call in grammar.calls] == ["weather", "now"]
    assert grammar.begin.startswith(grammar.trigger)
    weather, now = (call_text(call, args) for call, args in zip(grammar.calls, (ARGUMENTS, {}), strict=True))
    if grammar.separator is None:
        texts = [f"{grammar.begin}{weather}{grammar.end}", f"{grammar.begin}{now}{grammar.end}"]
    else:
        texts = [f"{grammar.begin}{weather}{grammar.separator}{now}{grammar.end}"]
    calls = [call for text in texts for call in parse(AnswerFormat(form), [text]).answer.tool_calls]
    assert [(call.name, call.arguments) for call in calls] == [("weather", ARGUMENTS), ("now", {})]


def test_a_string_is_free_text_only_if_nothing_restricts_it() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "string", "enum": ["x"]}, "c": {}}}
    (call,) = tool_call_grammar(known.QWEN3_CODER, {"f": schema}).calls
    values = [segment.segments[1] for segment in call.segments if isinstance(segment, Parameter)]
    assert values == [
        FreeText("\n</parameter>"),
        OneOf(("x",)),
        JSONText({}),
    ]
