"""Tests of dataset records: supported formats, and the errors for others."""

import json
from typing import Any

import pytest

from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles import find_style
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.training.errors import InvalidData
from litgpt.domain.training.records import parse_conversation, parse_template_options, parse_text
from litgpt.domain.training.sft_example import SFTExample
from litgpt.domain.training.validation_split import validation_size

WHERE = "data.jsonl, line 3"
ASKED = Message("user", "Add.")
ANSWERED = Message("assistant", "Done.")


def example(record: object, style: str | None = None) -> tuple[Message, ...]:
    return parse_conversation(record, location=WHERE, style=None if style is None else find_style(style))


@pytest.mark.parametrize(
    "record",
    [
        {"instruction": "Add.", "output": "Done."},
        {"instruction": "Add.", "input": "", "output": "Done.", "text": "All of it."},
        {"instruction": "Add.", "input": None, "output": "Done."},
        {"prompt": "Add.", "completion": "Done."},
        {"messages": [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "Done."}]},
        {"conversations": [{"from": "human", "value": "Add."}, {"from": "gpt", "value": "Done."}]},
        [{"role": "user", "content": "Add."}, {"role": "assistant", "content": "Done."}],
        [ASKED, ANSWERED],
    ],
)
def test_each_kind_of_record_is_the_same_conversation(record: object) -> None:
    assert example(record) == (ASKED, ANSWERED)


def test_all_turns_of_a_conversation_are_kept() -> None:
    turns = [
        ("system", "Be brief."),
        ("human", "Add."),
        ("gpt", "Done."),
        ("human", "Again."),
        ("gpt", "No."),
    ]
    messages = example({"conversations": [{"from": who, "value": text} for who, text in turns]})
    assert [value.role for value in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [value.content for value in messages] == [text for _, text in turns]


def test_an_input_is_put_below_its_instruction() -> None:
    record = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
    assert example(record)[0] == Message("user", "Add.\n\n1 and 2")
    assert example(record, "llama3")[0] == Message("user", "Add.\n\n1 and 2")


def test_alpacas_style_has_a_place_for_an_input() -> None:
    """The text of Taori et al., which LitGPT writes too."""
    record = {"instruction": "Add {input}.", "input": "1 and {instruction}", "output": "3"}
    alpaca = find_style("alpaca")
    assert alpaca.render(example(record, "alpaca")[:-1]) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd {input}.\n\n### Input:\n1 and {instruction}\n\n### Response:\n"
    )
    without = example({"instruction": "Add.", "output": "3"}, "alpaca")
    assert "### Input" not in alpaca.render(without[:-1])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"instruction": "Add."}, "it has no 'output'"),
        ({"instruction": "Add.", "output": None}, "its 'output' is null"),
        ({"instruction": "Add.", "input": 3, "output": "x"}, "its 'input' is of type int"),
        ({"prompt": "Add.", "answer": "x"}, "it has no 'completion'"),
        (
            {"question": "Add.", "answer": "x"},
            "its fields are 'question', 'answer'. A record has 'instruction'",
        ),
        ({}, "it has no fields"),
        ("Add.", "it is of type str, not an object"),
        (None, "it is null"),
        ({"messages": "Add."}, "its messages are of type str, not a list"),
        ({"messages": []}, "it is empty"),
        ({"messages": ["Add."]}, "message 1 cannot be used for training: it is of type str"),
        ({"messages": [{"role": "user", "content": "Add."}]}, "it ends with a message of the user"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "text"}]}]},
            "its 'content' is of type list",
        ),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]},
            "message 1 cannot be used for training: tool_calls must be a list of calls",
        ),
        (
            {"messages": [{"role": "usr", "content": "x"}]},
            "message 1 cannot be used for training: role must be",
        ),
        ({"messages": [{"role": "assistant", "content": None}]}, "its 'content' is null"),
        ({"messages": [{"role": "user", "contnet": "x"}]}, "it has no 'content'"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "cannot read image content"),
        (
            {"conversations": [{"from": "gpt", "value": "x", "weight": 0}]},
            "it has 'weight', but only 'from' and 'value' are supported",
        ),
        ({"conversations": [{"from": "bing", "value": "x"}]}, "it is from 'bing', not one of 'human'"),
    ],
)
def test_missing_fields_are_named_with_the_line(record: Any, message: str) -> None:
    with pytest.raises(InvalidData) as caught:
        example(record)
    assert str(caught.value).startswith(WHERE)
    assert message in str(caught.value)


CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


def test_tool_calls_and_their_results_are_messages_like_any_other() -> None:
    messages = example(
        {
            "messages": [
                {"role": "user", "content": "Add.", "name": None},
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "3", "tool_call_id": "1", "tool_calls": None},
                {"role": "assistant", "content": "Done.", "reasoning_content": "Hm."},
            ],
            "tools": [],
        }
    )
    assert messages == (
        ASKED,
        Message("assistant", None, {"tool_calls": [CALL]}),
        Message("tool", "3", {"tool_call_id": "1"}),
        Message("assistant", "Done.", {"reasoning_content": "Hm."}),
    )


def test_sharegpt_tool_calls_have_their_own_role_names() -> None:
    turns = [
        ("human", "Add."),
        ("function_call", '{"name": "f", "arguments": {"x": 1}}'),
        ("observation", "3"),
        ("function_call", "<call>f</call>"),
        ("tool", "4"),
        ("gpt", "Done."),
    ]
    assert example({"conversations": [{"from": who, "value": text} for who, text in turns]}) == (
        ASKED,
        Message("assistant", None, {"tool_calls": [CALL]}),
        Message("tool", "3"),
        Message("assistant", "<call>f</call>"),
        Message("tool", "4"),
        ANSWERED,
    )


def test_a_prompt_and_its_completion_may_be_messages() -> None:
    record = {"prompt": [ASKED.as_dict()], "completion": [ANSWERED.as_dict()]}
    assert example(record) == (ASKED, ANSWERED)


def test_a_rendered_text_is_trained_on_unchanged() -> None:
    assert example({"text": "Once."}, "default") == (Message("user", ""), Message("assistant", "Once."))
    with pytest.raises(InvalidData, match="its fields are 'text'"):
        example({"text": "Once."})


def test_a_record_has_its_own_tools_and_variables() -> None:
    default = TemplateOptions(tools=[{"name": "g"}], variables={"a": 1})
    assert parse_template_options([ASKED], default, location=WHERE) is default
    assert parse_template_options({"tools": None}, default, location=WHERE) is default
    for tools in ([CALL], json.dumps([CALL])):
        actual = parse_template_options(
            {"tools": tools, "chat_template_kwargs": {"b": 2}}, default, location=WHERE
        )
        assert actual == TemplateOptions(tools=[CALL], variables={"b": 2})
    assert parse_template_options({"tools": []}, default, location=WHERE).tools == ()
    for record in ({"tools": "f"}, {"tools": {"name": "f"}}, {"chat_template_kwargs": {"messages": 1}}):
        with pytest.raises(InvalidData, match="line 3"):
            parse_template_options(record, default, location=WHERE)


def test_a_text_to_pretrain_on_is_a_field_of_its_record() -> None:
    assert parse_text({"text": "Once.", "source": "a book"}, location=WHERE) == "Once."
    for record in ({"content": "Once."}, {"text": 3}, "Once."):
        with pytest.raises(InvalidData, match=r"line 3 .*text"):
            parse_text(record, location=WHERE)


@pytest.mark.parametrize(
    ("records", "fraction", "expected"),
    [(2000, 0.05, 100), (51760, 0.03865, 2000), (10, 0.03, 1), (7, 0.5, 3), (10, None, 0), (1, 0, 0)],
)
def test_the_validation_size_is_litgpts(records: int, fraction: float | None, expected: int) -> None:
    assert validation_size(records, fraction, location=WHERE) == expected


def test_a_fraction_leaves_something_to_learn_from() -> None:
    message = "only record would be for validation, and none for training.*val_split_fraction=0"
    with pytest.raises(InvalidData, match=message):
        validation_size(1, 0.5, location=WHERE)
    assert validation_size(2, 0.99, location=WHERE) == 1
    wrong: tuple[Any, ...] = (1, -0.1, "0.1", True)
    for fraction in wrong:
        with pytest.raises(InvalidArgument, match="val_split_fraction"):
            validation_size(10, fraction, location=WHERE)


def test_an_example_is_truncated_at_its_end() -> None:
    example = SFTExample((10, 11, 12, 13, 14, 15), ((1, 3), (4, 6)))
    assert example.labels(-100) == [-100, 11, 12, -100, 14, 15]
    assert example.truncate(None) is example.truncate(6) is example
    assert example.truncate(5).labels(-1) == [-1, 11, 12, -1, 14]
    assert example.truncate(2).loss_spans == ((1, 2),)


def test_only_predicted_targets_count() -> None:
    assert SFTExample((1, 2), ((1, 2),)).has_targets
    assert not SFTExample((1, 2), ()).has_targets
    assert not SFTExample((1, 2), ((0, 1),)).has_targets
    assert not SFTExample((1, 2, 3, 4), ((3, 4),)).truncate(3).has_targets
