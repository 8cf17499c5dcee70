"""Tool calls and reasoning are parsed in each format, and the result does not depend on the chunks."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litgpt.domain.tool_calls import known_formats as known
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, ToolCallFormat
from tests.domain.tool_call_answers import THINK, Outcome, parse, write_answer

FORMATS = known.TOOL_CALL_FORMATS
NAMES = [form.name for form in FORMATS]
PARIS: dict[str, Any] = {
    "city": 'Paris } ] " \\ <b> é 🦙\n{',
    "days": 3,
    "where": {"a": [1, {"b": "}"}], "c": None},
    "tags": ["x", []],
    "exact": True,
}
CALLS: list[tuple[str, dict[str, Any]]] = [("weather", PARIS), ("weather", {"city": "5"}), ("now", {})]


def parsed(form: ToolCallFormat | ChannelFormat, text: str) -> Outcome:
    reasoning = None if isinstance(form, ChannelFormat) else THINK
    return parse(AnswerFormat(form, reasoning), [text])


def calls_of(outcome: Outcome) -> list[tuple[str, dict[str, Any]]]:
    return [(call.name, dict(call.arguments)) for call in outcome.answer.tool_calls]


@pytest.mark.parametrize("form", FORMATS, ids=NAMES)
def test_several_calls_are_parsed(form: ToolCallFormat | ChannelFormat) -> None:
    outcome = parsed(form, write_answer(form, CALLS))
    assert calls_of(outcome) == CALLS
    assert outcome.answer.text == ""
    assert [(name, json.loads(text)) for name, text in outcome.streamed.values()] == CALLS


@pytest.mark.parametrize("form", FORMATS, ids=NAMES)
def test_text_and_reasoning_beside_a_call(form: ToolCallFormat | ChannelFormat) -> None:
    call = write_answer(form, CALLS[:1])
    if isinstance(form, ChannelFormat):
        text = (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>Wait."
            f"<|end|><|start|>assistant{call}"
        )
    elif form.bare:
        text = f"<think>\nHm.\n</think>\n\n{call}"
    else:
        text = f"<think>\nHm.\n</think>\n\nWait.\n{call}"
    outcome = parsed(form, text)
    assert calls_of(outcome) == CALLS[:1]
    bare = not isinstance(form, ChannelFormat) and form.bare
    assert (outcome.answer.text, outcome.answer.reasoning) == ("" if bare else "Wait.", "Hm.")


@pytest.mark.parametrize("form", FORMATS, ids=NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_chunks_do_not_change_the_result(form: ToolCallFormat | ChannelFormat, data: st.DataObject) -> None:
    reasoning = None if isinstance(form, ChannelFormat) else THINK
    answers = AnswerFormat(form, reasoning)
    written = write_answer(form, CALLS)
    pieces = ["{", "}", '"', "\\", "\n", " ", "é🦙", "name", '{"name": "now"', written, written, written]
    marks = [*sorted(answers.special_tokens), *pieces]
    text = "".join(data.draw(st.lists(st.sampled_from(marks), min_size=1, max_size=6), "parts"))
    begin, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), "cut"))
    text = text[:begin] + text[end:] if data.draw(st.booleans(), "damage") else text
    text = text[: data.draw(st.integers(0, len(text)), "length")]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8), "chunks"))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    in_reasoning = data.draw(st.booleans(), "in reasoning")
    whole = parse(answers, [text], in_reasoning=in_reasoning)
    assert parse(answers, chunks, in_reasoning=in_reasoning) == whole
    assert parse(answers, list(text), in_reasoning=in_reasoning) == whole
    assert len(whole.streamed) == len(whole.answer.tool_calls)
    for (name, arguments), call in zip(whole.streamed.values(), whole.answer.tool_calls, strict=True):
        assert (name, json.loads(arguments)) == (call.name, call.arguments)
        assert call.raw_text in text


@pytest.mark.parametrize("form", FORMATS, ids=NAMES)
@settings(deadline=None)
@given(text=st.text(st.characters(exclude_characters="<[{")))
def test_text_without_marks_is_unchanged(form: ToolCallFormat | ChannelFormat, text: str) -> None:
    answer = parsed(form, text).answer
    assert (answer.text, answer.tool_calls) == (text, ())
