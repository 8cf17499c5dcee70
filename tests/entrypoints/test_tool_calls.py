"""Tests of tools from the library and the command line."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import providers

from litgpt import LLM
from litgpt.cli.answer_text import AnswerText
from litgpt.container import container
from litgpt.domain.errors import InvalidArgument
from litgpt.errors import TooManyToolRounds
from litgpt.testing import ByteTokenizer, MemoryCheckpoint, MemoryStore, MemoryStrategy, MemoryTensor
from tests.contracts.distribution_strategy import CONFIG, shapes

SCHEMA: dict[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": {}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
THOUGHT = f"<think>\nHm.\n</think>\n\nLet me see.\n{CALL}"
OPTIONS: dict[str, Any] = {"max_new_tokens": 300}


class Model:
    """A model whose next answer is `say`."""

    def __init__(self) -> None:
        self.script: list[int] = []
        weights = {name: MemoryTensor(shape) for name, shape in shapes().items()}
        store = MemoryStore({"mine": MemoryCheckpoint({**CONFIG, "max_position_embeddings": 4096}, weights)})
        tokenizer = ByteTokenizer(template="<tool_call> <think>")
        with (
            container.store.override(providers.Object(store)),
            container.open_tokenizer.override(providers.Object(lambda *_, **__: tokenizer)),
            container.strategy.override(providers.Object(MemoryStrategy(script=self.script))),
        ):
            self.llm = LLM.load("mine", quiet=True)

    def say(self, text: str) -> None:
        self.script[:] = [*text.encode(), 257]


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    model.say(THOUGHT)
    with model.llm:
        yield model


def test_generate_without_tools_returns_the_answer_as_it_is(model: Model) -> None:
    assert model.llm.generate("Hi", **OPTIONS) == THOUGHT
    assert "".join(model.llm.generate("Hi", stream=True, **OPTIONS)) == THOUGHT
    with model.llm.chat() as chat:
        assert chat.send("Hi") == THOUGHT
        assert "".join(chat.stream("Hi")) == THOUGHT


def test_complete_splits_reasoning_off_and_with_tools_calls(model: Model) -> None:
    completion = model.llm.complete("Hi", **OPTIONS)
    assert (completion.reasoning, completion.text) == ("Hm.", f"Let me see.\n{CALL}")
    assert (completion.tool_calls, completion.finish_reason) == ((), "stop")
    completion = model.llm.complete("Hi", tools=[SCHEMA], **OPTIONS)
    (call,) = completion.tool_calls
    assert (call.name, call.arguments, call.raw_text) == ("weather", {"city": "Rome"}, CALL)
    assert (completion.reasoning, completion.text, completion.finish_reason) == (
        "Hm.",
        "Let me see.",
        "tool_calls",
    )
    assert model.llm.generate("Hi", tools=[SCHEMA], **OPTIONS) == "Let me see."
    assert "".join(model.llm.generate("Hi", tools=[SCHEMA], stream=True, **OPTIONS)) == "Let me see."
    first, second = model.llm.complete(["Hi", "Ho"], tools=[SCHEMA], **OPTIONS)
    assert first.tool_calls[0].id != second.tool_calls[0].id


def test_a_chat_calls_functions(model: Model) -> None:
    cities = []

    def weather(city: str) -> dict[str, int]:
        """Return the weather.

        Args:
            city: Where.
        """
        cities.append(city)
        model.say("It is warm.")
        return {"degrees": 22}

    with model.llm.chat("Be brief.", tools=[weather]) as chat:
        assert chat.send("Warm?") == "It is warm."
        assert cities == ["Rome"]
        assert [message.role for message in chat.messages] == [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
        ]
        assert json.loads(chat.messages[3].text) == {"degrees": 22}
        model.say(THOUGHT)
        assert "".join(chat.stream("And now?")) == "Let me see.It is warm."
        model.say(THOUGHT)
        completion = chat.complete("And now?", tools=[SCHEMA])
        assert (len(cities), len(completion.tool_calls)) == (2, 1)
        assert chat.messages[-1].fields["reasoning_content"] == "Hm."
        model.say("Fine.")
        assert (
            chat.send({"role": "tool", "content": "22", "tool_call_id": completion.tool_calls[0].id})
            == "Fine."
        )


def test_rounds_of_calls_are_limited_by_the_argument(model: Model) -> None:
    def weather(city: str) -> str:
        """Return the weather.

        Args:
            city: Where.
        """
        return city

    with model.llm.chat(tools=[weather], max_tool_rounds=1) as chat, pytest.raises(TooManyToolRounds):
        chat.send("Warm?")
    with pytest.raises(InvalidArgument, match="max_tool_rounds"):
        model.llm.chat(max_tool_rounds=-1)


def test_the_command_line_shows_all_of_an_answer(model: Model) -> None:
    answer = AnswerText()
    chunks = model.llm.complete("Hi", tools=[SCHEMA], stream=True, **OPTIONS)
    assert "".join(map(answer.push, chunks)) == f"<think>\nHm.\n</think>\n\nLet me see.\n{CALL}"
    model.say("<think>\nHm")
    answer = AnswerText()
    chunks = model.llm.complete("Hi", stream=True, max_new_tokens=10)
    assert "".join(map(answer.push, chunks)) == "<think>\nHm\n</think>"
    model.say(" plain \n")
    assert "".join(map(AnswerText().push, model.llm.complete("Hi", stream=True, **OPTIONS))) == " plain \n"
