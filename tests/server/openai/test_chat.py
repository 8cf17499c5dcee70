"""`/v1/chat/completions` through the client of OpenAI."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from litgpt import LLM
from tests.server.openai.conftest import NAME
from tests.server.openai.strict import check

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY: dict[str, Any] = {"model": NAME, "messages": QUESTION, "temperature": 0, "max_completion_tokens": 12}
COLORS: Any = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "green"]}, "count": {"type": "integer", "maximum": 9}},
    "required": ["color", "count"],
    "additionalProperties": False,
}


def test_an_answer_is_that_of_the_library(client: OpenAI, llm: LLM) -> None:
    answer = client.chat.completions.create(**GREEDY)
    check(answer)
    expected = llm.complete(QUESTION, temperature=0, max_new_tokens=12)
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == expected.finish_reason
    assert answer.model == NAME
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == expected.prompt_tokens
    assert answer.usage.completion_tokens == expected.completion_tokens
    assert answer.usage.total_tokens == expected.prompt_tokens + expected.completion_tokens


def test_a_stream_joins_to_the_answer(client: OpenAI) -> None:
    whole = client.chat.completions.create(**GREEDY)
    chunks = list(
        client.chat.completions.create(**GREEDY, stream=True, stream_options={"include_usage": True})
    )
    for chunk in chunks:
        check(chunk)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_several_answers_have_their_own_seeds(client: OpenAI, llm: LLM) -> None:
    options: dict[str, Any] = {"messages": QUESTION, "temperature": 1.5, "seed": 7, "n": 3}
    answer = client.chat.completions.create(model=NAME, max_tokens=8, **options)
    check(answer)
    texts = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    expected = llm.complete(QUESTION, temperature=1.5, seed=7, n=3, max_new_tokens=8)
    assert texts == [it.text for it in expected]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(model=NAME, max_tokens=8, **options, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_log_probabilities_are_those_of_the_model(client: OpenAI, llm: LLM) -> None:
    answer = client.chat.completions.create(**GREEDY, logprobs=True, top_logprobs=3)
    check(answer)
    choice = answer.choices[0]
    assert choice.logprobs is not None
    content = choice.logprobs.content or []
    expected = llm.complete(QUESTION, temperature=0, max_new_tokens=12, logprobs=True)
    assert expected.logprobs is not None
    assert [it.logprob for it in content] == pytest.approx(list(expected.logprobs[:-1]), abs=1e-5)
    assert "".join(it.token for it in content) == choice.message.content
    assert b"".join(bytes(it.bytes or []) for it in content).decode() == choice.message.content
    assert all(len(it.top_logprobs) == 3 for it in content)
    assert all(it.top_logprobs[0].token == it.token for it in content)  # greedy
    streamed: list[Any] = []
    for chunk in client.chat.completions.create(**GREEDY, logprobs=True, top_logprobs=3, stream=True):
        check(chunk)
        if chunk.choices[0].logprobs is not None:
            streamed += chunk.choices[0].logprobs.content or []
    assert [it.token for it in streamed] == [it.token for it in content]


def test_stop_strings_end_an_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(**GREEDY, stop=["France"])
    assert answer.choices[0].message.content == "The capital of "
    assert answer.choices[0].finish_reason == "stop"
    streamed = client.chat.completions.create(**GREEDY, stop=["France"], stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == "The capital of "


def test_the_length_ends_an_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(**{**GREEDY, "max_completion_tokens": 3})
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_a_bias_of_logits_counts(client: OpenAI, llm: LLM) -> None:
    token = llm.tokenizer.encode(" Paris", bos=False).tolist()[0]
    answer = client.chat.completions.create(**GREEDY, logit_bias={str(token): -100})
    assert "Paris" not in (answer.choices[0].message.content or "")


def test_answers_follow_a_schema(client: OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "c", "schema": COLORS, "strict": True}}
    answer = client.chat.completions.create(
        model=NAME, messages=QUESTION, response_format=form, seed=1, max_tokens=64
    )
    check(answer)
    value = json.loads(answer.choices[0].message.content or "")
    assert value["color"] in ("red", "green")
    assert isinstance(value["count"], int)


def test_answers_are_json_objects(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=NAME, messages=QUESTION, response_format={"type": "json_object"}, seed=1, max_tokens=200
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_further_options_are_those_of_the_library(client: OpenAI, llm: LLM) -> None:
    options: dict[str, Any] = {"min_p": 0.2, "top_k": 10, "repetition_penalty": 1.3, "min_tokens": 4}
    answer = client.chat.completions.create(
        model=NAME, messages=QUESTION, seed=3, max_tokens=10, extra_body=options
    )
    expected = llm.complete(QUESTION, seed=3, max_new_tokens=10, **options)
    assert answer.choices[0].message.content == expected.text


def test_a_final_message_is_continued(client: OpenAI, llm: LLM) -> None:
    messages: Any = [*QUESTION, {"role": "assistant", "content": "The capital of"}]
    answer = client.chat.completions.create(
        model=NAME,
        messages=messages,
        temperature=0,
        max_tokens=3,
        extra_body={"continue_final_message": True},
    )
    expected = llm.complete(messages, temperature=0, max_new_tokens=3, continue_final_message=True)
    assert answer.choices[0].message.content == expected.text
    assert expected.text.startswith(" France")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n", 0, "positive"),
        ("n", 129, "at most 128"),
        ("n", "two", "integer"),
        ("temperature", -1, "temperature"),
        ("top_p", 1.5, "top_p"),
        ("top_logprobs", 3, "logprobs"),
        ("presence_penalty", 3, "presence_penalty"),
        ("stop", 7, "stop"),
        ("logit_bias", {"x": 1}, "logit_bias"),
        ("max_tokens", -1, "max_tokens"),
        ("stream_options", {"include_usage": True}, "stream"),
        ("response_format", {"type": "yaml"}, "response_format"),
        ("functions", [{"name": "f"}], "tools"),
        ("prediction", {"type": "content"}, "prediction"),
        ("service_tier", "flex", "service_tier"),
        ("temprature", 1, "Did you mean temperature"),
        ("messages", [], "messages"),
        ("messages", "Hello", "messages"),
        ("messages", ["Hello", "there"], "messages"),
        ("messages", [QUESTION, QUESTION], "messages"),
        ("messages", [{"role": "user"}], "content"),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "image"),
    ],
)
def test_bad_fields_are_refused_by_name(client: OpenAI, field: str, value: Any, message: str) -> None:
    body: Any = {**GREEDY, field: value}
    if field == "max_tokens":
        del body["max_completion_tokens"]
    with pytest.raises(BadRequestError, match=message) as raised:
        client.post("/chat/completions", body=body, cast_to=object)
    assert raised.value.type == "invalid_request_error"
    assert raised.value.param is not None
    assert raised.value.param.startswith(field if field != "top_logprobs" else "logprobs")


def test_another_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="Set model to smollm2") as raised:
        client.chat.completions.create(**{**GREEDY, "model": "gpt-4"})
    assert raised.value.code == "model_not_found"


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "word " * 9000}]
    with pytest.raises(BadRequestError, match=r"9\d{3} tokens.*8192") as raised:
        client.chat.completions.create(model=NAME, messages=messages)
    assert raised.value.code == "context_length_exceeded"
    assert raised.value.param == "messages"
    with pytest.raises(BadRequestError) as raised:
        client.completions.create(model=NAME, prompt="word " * 9000)
    assert raised.value.param == "prompt"
    with pytest.raises(BadRequestError) as raised:
        client.responses.create(model=NAME, input="word " * 9000)
    assert raised.value.param == "input"


def test_the_text_parts_of_a_message_are_its_text(client: OpenAI) -> None:
    parts: Any = [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]
    answers = [
        client.chat.completions.create(**{**GREEDY, "messages": [{"role": "user", "content": content}]})
        for content in (parts, "Say hello.")
    ]
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content
    assert answers[0].usage is not None
    assert answers[1].usage is not None
    assert answers[0].usage.prompt_tokens == answers[1].usage.prompt_tokens


def test_no_log_probabilities_may_be_asked_for_in_full(client: OpenAI) -> None:
    answer = client.chat.completions.create(**GREEDY, logprobs=False, top_logprobs=0)
    assert answer.choices[0].logprobs is None


def test_concurrent_answers_are_those_of_one_at_a_time(client: OpenAI) -> None:
    questions = [f"Count to {number}." for number in range(12)]

    def ask(question: str) -> str | None:
        messages: Any = [{"role": "user", "content": question}]
        answer = client.chat.completions.create(model=NAME, messages=messages, temperature=0, max_tokens=12)
        return answer.choices[0].message.content

    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(ask, questions))
    assert together == [ask(question) for question in questions]


def test_the_model_is_listed(client: OpenAI) -> None:
    models = client.models.list().data
    assert [model.id for model in models] == [NAME]
    assert models[0].to_dict()["context_length"] == 8192
    assert client.models.retrieve(NAME).id == NAME
    with pytest.raises(NotFoundError):
        client.models.retrieve("other")
