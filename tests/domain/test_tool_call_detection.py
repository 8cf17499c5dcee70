"""The format of a model is detected from its chat template."""

import pytest

from litgpt.domain.tool_calls import known_formats as known
from litgpt.domain.tool_calls.answer_syntax import answer_syntax, tool_parameters
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, ReasoningFormat
from tests.domain.tool_call_answers import SCHEMAS, parse

# Parts of chat templates that write calls.
TEMPLATES = {
    "hermes": """{{- '\\n<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}""",
    "qwen3_coder": """{{- '<tool_call>\\n<function=' + call.name }}{{- '<parameter=' + key + '>\\n' }}""",
    "llama3_json": """<|start_header_id|>{{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}""",
    "mistral": """{{- '[TOOL_CALLS] [' }}{{- call.function | tojson }}""",
    "mistral_args": """{{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + arguments }}""",
    "deepseek_v3": """'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + call.type + '\\n```json'""",
    "deepseek_v3_1": """'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + name + '<｜tool▁sep｜>'""",
    "glm4": """'<tool_call>' + name }}<arg_key>{{ k }}</arg_key>\\n<arg_value>{{ v }}</arg_value>""",
    "gemma4": """'<|tool_call>call:' + function['name'] + '{'""",
    "minimax_m2": """{%- set begin = '<minimax:tool_call>' -%}<invoke name=""",
    "kimi_k2": """<|tool_calls_section_begin|><|tool_call_begin|>{{ call.id }}<|tool_call_argument_begin|>""",
    "harmony": """'<|start|>assistant to=functions.' + name + '<|channel|>commentary json<|message|>'""",
    "json": """{{ tools | tojson }}""",
}


@pytest.mark.parametrize(("name", "template"), TEMPLATES.items(), ids=TEMPLATES)
def test_the_format_of_tool_calls_is_detected(name: str, template: str) -> None:
    form = known.detect_format(template, tools=True)
    assert form is not None
    assert form.tool_calls is not None
    assert form.tool_calls.name == name


def test_all_formats_can_be_detected() -> None:
    assert set(TEMPLATES) == {form.name for form in known.TOOL_CALL_FORMATS}


@pytest.mark.parametrize("reasoning", known.REASONING_FORMATS, ids=lambda form: str(form.begin))
def test_the_format_of_reasoning_is_detected(reasoning: ReasoningFormat) -> None:
    for mark in (reasoning.begin, reasoning.end):
        form = known.detect_format("{{ '" + mark + "' }}", tools=False)
        assert form == AnswerFormat(None, reasoning)
    text = f"{reasoning.begin}\n Why?\n{reasoning.end}\n\nSo."
    answer = parse(AnswerFormat(None, reasoning), [text]).answer
    assert (answer.reasoning, answer.text) == ("Why?", "So.")


def test_nothing_is_parsed_without_tools_and_reasoning() -> None:
    assert known.detect_format(TEMPLATES["hermes"], tools=False) is None
    assert answer_syntax("{{ messages }}", "", []) is None


def test_channels_are_parsed_without_tools() -> None:
    form = known.detect_format(TEMPLATES["harmony"], tools=False)
    assert form is not None
    assert isinstance(form.tool_calls, ChannelFormat)


def test_the_special_tokens_of_a_format_are_its_marks() -> None:
    assert {"<|channel|>", "<|message|>", "<|end|>"} <= AnswerFormat(known.HARMONY).special_tokens
    assert AnswerFormat(known.MISTRAL_ARGS).special_tokens == {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}
    assert AnswerFormat(known.LLAMA3_JSON).special_tokens == {"<|python_tag|>"}
    assert AnswerFormat(known.GEMMA4).special_tokens == {"<|tool_call>", "<tool_call|>", '<|"|>'}
    assert "<｜tool▁call▁begin｜>" in AnswerFormat(known.DEEPSEEK_V3).special_tokens


def test_tools_may_be_the_inner_object_alone() -> None:
    inner = {"name": "f", "parameters": {"type": "object"}}
    for tool in (inner, {"type": "function", "function": inner}):
        assert tool_parameters([tool]) == {"f": {"type": "object"}}
    assert tool_parameters([{"name": "f"}, {"type": "web_search"}, {"name": 5}]) == {"f": {}}


def test_ids_are_reproducible_and_differ_within_a_conversation() -> None:
    def ids(prompt: str) -> list[str]:
        syntax = answer_syntax("<tool_call>", prompt, [{"name": "now"}])
        assert syntax is not None
        parser = syntax.parser()
        deltas = parser.push('<tool_call>{"name": "now"}</tool_call>' * 2)
        return [delta.call.id for delta in deltas if hasattr(delta, "call")]

    first, second = ids("a\udfff"), ids("b")
    assert ids("a\udfff") == first
    assert len({*first, *second}) == 4
    assert all(len(one) == 9 and one.isalnum() and one.isascii() for one in first + second)


def test_values_in_tags_have_the_types_of_the_schema() -> None:
    text = (
        "<tool_call><function=weather><parameter=city>\n\n5\n\n</parameter><parameter=exact>True</parameter>"
        "<parameter=days>\nmany\n</parameter><parameter=other>[1]</parameter></function></tool_call>"
    )
    (call,) = parse(AnswerFormat(known.QWEN3_CODER), [text]).answer.tool_calls
    assert call.arguments == {"city": "\n5\n", "exact": True, "days": "many", "other": [1]}
    assert call.arguments.keys() - SCHEMAS["weather"]["properties"].keys() == {"other"}
