"""`tool_choice` and `parallel_tool_calls` over HTTP, as OpenAI's client sends and reads them."""

import json
from functools import partial
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

pytest.importorskip("llguidance")

NOW: dict[str, Any] = {
    "type": "function",
    "function": {"name": "now", "parameters": {"type": "object", "properties": {}}},
}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
REQUEST: dict[str, Any] = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "Is it warm in Oslo?"}],
    "tools": [NOW, WEATHER],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "temperature": 2.0,
    "seed": 1,
    "max_tokens": 60,
}


def only_call(choice: Any) -> tuple[str, str]:
    """Return the name and the arguments of the only call of an answer."""
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    return call.function.name, call.function.arguments


def test_a_named_function_is_called(client: OpenAI) -> None:
    name, arguments = only_call(client.chat.completions.create(**REQUEST).choices[0])
    assert name == "weather"
    assert json.loads(arguments)["city"] in ("Rome", "Oslo")


def test_a_streamed_call_is_that_of_the_whole_answer(client: OpenAI) -> None:
    with client.chat.completions.stream(**REQUEST) as stream:
        streamed = stream.get_final_completion()
    whole = client.chat.completions.create(**REQUEST)
    assert only_call(streamed.choices[0]) == only_call(whole.choices[0])


@pytest.mark.parametrize(
    "change",
    [{"tool_choice": "other"}, {"tool_choice": "required", "tools": []}, {"tool_choice": {"type": "x"}}],
)
def test_a_choice_that_cannot_be_kept_is_an_error_of_the_field(
    client: OpenAI, change: dict[str, Any]
) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(**{**REQUEST, **change})
    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize("name", ["", "a b", "ä", "a.b", "a" * 65, "a\n", "a:b"])
@pytest.mark.parametrize("path", ["chat", "responses"])
def test_a_name_of_a_tool_that_openai_refuses_is_refused(client: OpenAI, path: str, name: str) -> None:
    function = {"name": name, "parameters": {"type": "object"}}
    chat: Any = [{"type": "function", "function": function}]
    flat: Any = [{"type": "function", **function}]
    messages: Any = [{"role": "user", "content": "Hi"}]
    call = (
        partial(client.chat.completions.create, messages=messages, tools=chat)
        if path == "chat"
        else partial(client.responses.create, input="Hi", tools=flat)
    )
    with pytest.raises(BadRequestError) as raised:
        call(model="smollm2")
    assert raised.value.param == ("tools[0].function.name" if path == "chat" else "tools[0].name")
