"""Tests of messages: the formats of callers and datasets, for chat templates."""

import enum
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from litgpt.domain.chat.messages import Message, parse_messages
from litgpt.domain.chat.styles import find_style
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}


class Role(enum.StrEnum):
    USER = "user"


class Model:
    """Like a pydantic model of OpenAI's client."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def model_dump(self) -> dict[str, Any]:
        return self.fields


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": ""},
        {"role": "user", "content": "Hi", "name": "Ada"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "reasoning_content": "Hm.", "content": "Hi"},
        {"role": "tool", "content": "22", "tool_call_id": "1", "name": "f"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "tool", "content": None, "tool_call_id": "1"},
    ],
)
def test_a_message_keeps_all_fields(message: dict[str, Any]) -> None:
    parsed = parse_messages([message])[0]
    assert parsed.as_dict() == {name: value for name, value in message.items() if value is not None}
    assert parse_messages([parsed.as_dict() | {"content": parsed.content}]) == (parsed,)


def test_objects_become_plain_data() -> None:
    message = parse_messages([Model(role=Role.USER, content=[Model(type="text", text="Hi")], name=None)])
    assert message == (Message("user", [{"type": "text", "text": "Hi"}]),)
    assert type(message[0].role) is str


def test_messages_are_copied() -> None:
    call: dict[str, Any] = {"function": {"arguments": {"x": 1}}}
    message = parse_messages([{"role": "assistant", "tool_calls": [call]}])[0]
    call["function"]["arguments"]["x"] = 2
    assert message.fields["tool_calls"][0]["function"]["arguments"] == {"x": 1}


RING: list[Any] = []
RING.append(RING)


@pytest.mark.parametrize(
    "message",
    [
        "Hi",
        {"content": "Hi"},
        {"role": "user"},
        {"role": "user", "content": None},
        {"role": "user", "content": None, "name": "Ada"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "contnet": "Hi"},
        {"role": "tool", "tool_call_id": "1"},
        {"role": 3, "content": "Hi"},
        {"role": "", "content": "Hi"},
        {"role": "user", "content": 3},
        {"role": "user", "content": {"text": "Hi"}},
        {"role": "user", "content": ["Hi"]},
        {"role": "user", "content": [{"type": "text", "text": None}]},
        {"role": "user", "content": "Hi", "extra": object()},
        {"role": "user", "content": "Hi", "extra": {3: 4}},
        {"role": "user", "content": b"Hi"},
        SimpleNamespace(role="user", content="Hi"),
    ],
)
def test_an_invalid_message_is_named_by_its_index(message: Any) -> None:
    with pytest.raises(WrongType, match=r"messages\[1\]"):
        parse_messages([Message("user", "Hi"), message])


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ({"type": "image"}, "image"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}}, "image"),
        ({"type": "input_audio", "input_audio": {}}, "audio"),
        ({"type": "video", "video": "x.mp4"}, "video"),
        ({"image_url": "x.png"}, "image"),
    ],
)
def test_images_audio_and_video_are_refused_by_name(part: dict[str, Any], what: str) -> None:
    with pytest.raises(
        InvalidArgument, match=rf"messages\[0\]\.content\[1\] must be a text part.*{what}"
    ) as caught:
        parse_messages([{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}])
    assert len(str(caught.value)) < 300


def test_a_value_that_contains_itself_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="nested"):
        parse_messages([{"role": "user", "content": "Hi", "extra": RING}])


def test_a_style_writes_text_parts_and_continues_an_answer() -> None:
    chatml, messages = find_style("smollm2"), [Message("user", [{"type": "text", "text": "Hi"}])]
    assert chatml.render(messages) == chatml.render([Message("user", "Hi")])
    started = [*messages, Message("assistant", "Well, ")]
    options = TemplateOptions(continue_final_message=True)
    assert chatml.render(started, options=options) == chatml.render(messages) + "Well, "
    alpaca = find_style("alpaca")
    assert alpaca.render(started, options=options) == alpaca.render(messages) + "Well, "
    with pytest.raises(UnsupportedPrompt, match="continue"):
        chatml.render(messages, options=options)


@pytest.mark.parametrize(
    ("message", "options", "reason"),
    [
        (Message("user", "Hi"), {"tools": [CALL]}, "tools need a chat template"),
        (Message("user", "Hi"), {"variables": {"enable_thinking": False}}, "'enable_thinking' need"),
        (Message("user", "Hi", {"name": "Ada"}), {}, "does not support name of a message"),
        (Message("tool", "22", {"tool_call_id": "1"}), {}, "the role 'tool' is not supported"),
        (Message("user", [{"type": "thinking", "thinking": "Hm."}]), {}, "not text"),
    ],
)
def test_messages_that_a_style_does_not_support_are_refused(
    message: Message, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsupportedPrompt, match=reason):
        find_style("smollm2").render([message], options=TemplateOptions(**options))


def test_variables_are_plain_data_and_cannot_replace_what_has_an_argument() -> None:
    variables: dict[str, Any] = {"enable_thinking": False, "documents": ({"title": "A", "text": "B"},)}
    assert TemplateOptions(variables=variables).variables == {
        "enable_thinking": False,
        "documents": [{"title": "A", "text": "B"}],
    }
    for name in ("messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template"):
        with pytest.raises(InvalidArgument, match=f"chat_template_kwargs.*{name}"):
            TemplateOptions(variables={name: None})
    bad: list[Any] = ["x", [("a", 1)], {3: 4}, {"a": object()}, {"documents": "B"}, {"documents": ["B"]}]
    for value in bad:
        with pytest.raises(WrongType, match="chat_template_kwargs"):
            TemplateOptions(variables=value)
    for flag in (None, 1, ""):
        with pytest.raises(WrongType, match="continue_final_message"):
            TemplateOptions(continue_final_message=flag)  # type: ignore[arg-type]


def test_options_that_are_evolved_are_equal_to_new_ones() -> None:
    assert TemplateOptions(tools=[]).tools == ()
    options = TemplateOptions(tools=[{"type": "function"}], variables={"documents": [{"text": "é"}]})
    assert attrs.evolve(TemplateOptions(), tools=options.tools, variables=options.variables) == options
    assert attrs.evolve(options, continue_final_message=True).continue_final_message is True


@pytest.mark.parametrize(("role", "expected"), [("usr", "user"), ("User", "user"), ("asistant", "assistant")])
def test_a_misspelled_role_is_an_error_with_a_suggestion(role: str, expected: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"messages\[0\]\.role must be '{expected}', or another role"):
        parse_messages([{"role": role, "content": "Hi"}])


@pytest.mark.parametrize("role", ["user", "assistant", "tool", "developer", "ipython", "observation"])
def test_other_roles_are_left_to_the_chat_template(role: str) -> None:
    assert parse_messages([{"role": role, "content": "Hi"}])[0].role == role
