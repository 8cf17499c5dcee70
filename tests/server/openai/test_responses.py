"""`/v1/responses` through the client of OpenAI."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

from litgpt import LLM
from litgpt.testing import ScriptedGenerator
from tests.server.openai.conftest import NAME
from tests.server.openai.scripted import writes
from tests.server.openai.strict import check

QUESTION = "What is the capital of France?"
GREEDY: dict[str, Any] = {"model": NAME, "input": QUESTION, "temperature": 0, "max_output_tokens": 12}
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'
THINKING = "<think>\nIt rains.\n</think>\n\nTake an umbrella."


def test_an_answer_is_that_of_the_library(client: OpenAI, llm: LLM) -> None:
    answer = client.responses.create(**GREEDY, instructions="Be brief.", metadata={"a": "b"})
    check(answer)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    expected = llm.complete(messages, temperature=0, max_new_tokens=12)
    assert answer.output_text == expected.text
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.input_tokens == expected.prompt_tokens
    assert answer.usage.output_tokens == expected.completion_tokens
    assert answer.usage.total_tokens == expected.prompt_tokens + expected.completion_tokens
    assert answer.metadata == {"a": "b"}


def test_cached_tokens_are_counted(client: OpenAI) -> None:
    options: Any = {**GREEDY, "instructions": "Answer in one sentence. " * 20}
    first, second = client.responses.create(**options), client.responses.create(**options)
    assert second.usage is not None
    assert second.usage.input_tokens_details.cached_tokens > 32
    assert second.output_text == first.output_text


def test_the_events_of_a_stream_join_to_the_answer(client: OpenAI) -> None:
    whole = client.responses.create(**GREEDY)
    events: list[Any] = list(client.responses.create(**GREEDY, stream=True))
    for event in events:
        check(event)
    kinds = [event.type for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text
    assert len(deltas) > 1
    assert events[0].response.status == "in_progress"
    assert events[0].response.id == events[-1].response.id
    assert events[-1].response.output_text == whole.output_text
    assert events[-1].response.output[0].id == events[2].item.id


def test_the_stream_of_the_client_ends_with_the_response(client: OpenAI) -> None:
    with client.responses.stream(**GREEDY) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text


def test_an_answer_that_is_cut_off_is_incomplete(client: OpenAI) -> None:
    answer = client.responses.create(**{**GREEDY, "max_output_tokens": 3})
    check(answer)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    last = [*client.responses.create(**{**GREEDY, "max_output_tokens": 3}, stream=True)][-1]
    check(last)
    assert last.type == "response.incomplete"


def test_log_probabilities_are_included(client: OpenAI) -> None:
    options: dict[str, Any] = {**GREEDY, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    answer: Any = client.responses.create(**options)
    check(answer)
    tokens = answer.output[0].content[0].logprobs
    assert "".join(it.token for it in tokens) == answer.output_text
    assert all(len(it.top_logprobs) == 2 for it in tokens)
    events: list[Any] = list(client.responses.create(**options, stream=True))
    streamed = [it for e in events if e.type == "response.output_text.delta" for it in e.logprobs]
    assert [it.token for it in streamed] == [it.token for it in tokens]


class City(BaseModel):
    """The answer to a question."""

    name: str


def test_an_answer_is_parsed_as_a_class(client: OpenAI) -> None:
    answer = client.responses.parse(model=NAME, input=QUESTION, text_format=City, temperature=0)
    assert isinstance(answer.output_parsed, City)


@pytest.fixture(scope="module")
def caller() -> Iterator[OpenAI]:
    with writes(f"I look. {CALL}", "<tool_call>") as client:
        yield client


def test_calls_are_items(caller: OpenAI) -> None:
    answer = caller.responses.create(model="tiny", input="Rain?", tools=[WEATHER])
    check(answer)
    message, call = answer.output
    assert message.type == "message"
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments), call.status) == ("weather", {"city": "Paris"}, "completed")
    assert answer.tools[0].to_dict() == WEATHER


def test_calls_are_streamed_in_pieces(caller: OpenAI) -> None:
    events: list[Any] = list(
        caller.responses.create(model="tiny", input="Rain?", tools=[WEATHER], stream=True)
    )
    for event in events:
        check(event)
    added, done = (
        [event for event in events if event.type == f"response.output_item.{kind}"]
        for kind in ("added", "done")
    )
    assert [event.output_index for event in added] == [0, 1]
    assert added[1].item.id == done[1].item.id
    assert added[1].item.call_id == done[1].item.call_id
    pieces = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1
    (whole,) = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert "".join(event.delta for event in pieces) == whole.arguments == done[1].item.arguments
    assert events[-1].response.output[1] == done[1].item


def test_a_call_that_breaks_off_is_text_in_the_end() -> None:
    with writes('<tool_call>{"name": "weather", "arguments": {"city": "Pa', "<tool_call>") as client:
        events: list[Any] = list(
            client.responses.create(model="tiny", input="Rain?", tools=[WEATHER], stream=True)
        )
    for event in events:
        check(event)
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert [(item.type, item.status) for item in done] == [
        ("function_call", "incomplete"),
        ("message", "completed"),
    ]
    assert [item.type for item in events[-1].response.output] == ["message"]


def test_reasoning_is_an_item_of_its_own() -> None:
    with writes(THINKING, "<think> </think>") as client:
        answer = client.responses.create(model="tiny", input="Rain?")
        check(answer)
        reasoning, message = answer.output
        assert reasoning.type == "reasoning"
        assert reasoning.content is not None
        assert reasoning.content[0].text == "It rains."
        assert message.type == "message"
        assert answer.output_text == "Take an umbrella."
        assert answer.usage is not None
        assert answer.usage.output_tokens_details.reasoning_tokens > 0
        events: list[Any] = list(client.responses.create(model="tiny", input="Rain?", stream=True))
        for event in events:
            check(event)
        text = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
        assert text == "It rains."
        kinds = dict.fromkeys(event.type for event in events)
        assert "response.reasoning_text.done" in kinds


@pytest.fixture(scope="module")
def failing() -> Iterator[OpenAI]:
    class Failing(ScriptedGenerator):
        def open(self) -> Any:
            engine = super().open()

            def fail() -> None:
                raise OSError("the device has a secret name")

            engine.step = fail  # type: ignore[assignment, method-assign]
            return engine

    with writes("", generator=Failing([1])) as client:
        yield client


def test_a_failure_is_an_event_without_details_of_the_server(failing: OpenAI) -> None:
    events: list[Any] = list(failing.responses.create(model="tiny", input="Hi", stream=True))
    check(events[-1])
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code == "server_error"
    assert "secret" not in events[-1].response.error.message


def test_items_are_a_conversation(client: OpenAI, llm: LLM) -> None:
    items: Any = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Rain in Paris?"}]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "It rains.", "annotations": [], "logprobs": []}],
        },
        {"role": "user", "content": "And in Rome?"},
    ]
    answer = client.responses.create(**{**GREEDY, "input": items}, instructions="Be kind.")
    check(answer)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind.\n\nBe brief."},
        {"role": "user", "content": "Rain in Paris?"},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": "Hm",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": {"city": "Paris"}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "rain"},
        {"role": "assistant", "content": "It rains."},
        {"role": "user", "content": "And in Rome?"},
    ]
    expected = llm.complete(messages, temperature=0, max_new_tokens=12)
    assert answer.output_text == expected.text
    assert answer.usage is not None
    assert answer.usage.input_tokens == expected.prompt_tokens


def test_the_output_of_an_answer_is_part_of_the_next_input(caller: OpenAI) -> None:
    first = caller.responses.create(model="tiny", input="Rain?", tools=[WEATHER])
    call = first.output[1]
    assert call.type == "function_call"
    items: Any = [
        {"role": "user", "content": "Rain?"},
        *first.output,
        {"type": "function_call_output", "call_id": call.call_id, "output": "yes"},
    ]
    check(caller.responses.create(model="tiny", input=items, tools=[WEATHER]))


@pytest.mark.parametrize(
    ("param", "value", "message"),
    [
        ("previous_response_id", "resp_1", "send the whole conversation"),
        ("conversation", "conv_1", "send the whole conversation"),
        ("background", True, "background"),
        ("truncation", "auto", "truncation"),
        ("prompt", {"id": "p"}, "not stored"),
        ("input", [], "at least one item"),
        ("input", 7, "a text or a list"),
        ("input[0]", ["Hello"], "an object"),
        ("input[0].type", [{"type": "item_reference", "id": "x"}], "nothing is stored"),
        ("input[0].type", [{"type": "web_search_call"}], "function_call"),
        ("input[0].role", [{"role": "critic", "content": "x"}], "developer"),
        ("input[0].content", [{"role": "user"}], "text of the message"),
        ("input[0].content[0].type", [{"role": "user", "content": [{"type": "input_image"}]}], "only text"),
        ("input[0].arguments", [{"type": "function_call", "call_id": "a", "name": "b"}], "a text"),
        ("instructions", 7, "a text"),
        ("max_output_tokens", 0, "positive"),
        ("max_output_tokens", "many", "integer"),
        ("metadata", {"a": 1}, "strings"),
        ("include[0]", ["file_search_call.results"], "logprobs"),
        ("tools[0].type", [{"type": "web_search"}], "function"),
        ("tools[0].name", [{"type": "function"}], "name"),
        ("tools[0].parameters", [{"type": "function", "name": "f", "parameters": []}], "JSON schema"),
        ("text.format.type", {"format": {"type": "xml"}}, "json_schema"),
        ("text.format.schema", {"format": {"type": "json_schema", "name": "x"}}, "JSON schema"),
        ("text.verbosity", {"verbosity": "low"}, "medium"),
        ("reasoning.effort", {"effort": 3}, "low"),
        ("top_logprobs", 21, "at most 20"),
        ("temprature", 1, "Did you mean temperature"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: OpenAI, param: str, value: Any, message: str
) -> None:
    field = param.partition("[")[0].partition(".")[0]
    with pytest.raises(BadRequestError, match=message) as raised:
        client.post("/responses", body={**GREEDY, field: value}, cast_to=object)
    assert raised.value.param == param


def test_what_agents_send_is_accepted(client: OpenAI) -> None:
    answer = client.responses.create(
        **GREEDY,
        instructions="You are a coding agent.",
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="a conversation",
        reasoning={"effort": "low", "summary": "auto"},
        parallel_tool_calls=False,
        tools=[],
        service_tier="auto",
    )
    check(answer)
