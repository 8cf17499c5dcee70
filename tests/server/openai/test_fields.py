"""Every field of every request is done as described or refused by name, and `/openapi.json` says so."""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any, get_type_hints

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import response_create_params

from litgpt.application.openai.description.endpoints import (
    CHAT,
    COMPLETION,
    EMBEDDING,
    ENDPOINTS,
    PREDICT,
    RESPONSE,
    Endpoint,
)
from litgpt.application.openai.description.openapi import request_schema
from tests.server.openai.scripted import writes

Ask = Callable[[str, Any], tuple[int, Any]]

POSTS = [it for it in (*ENDPOINTS, PREDICT) if it.fields is not None]
PATHS = [it.path for it in POSTS]
MESSAGES = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FLAT_TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
BASE: dict[str, dict[str, Any]] = {
    CHAT.path: {"messages": MESSAGES, "max_tokens": 2},
    COMPLETION.path: {"prompt": "Hi", "max_tokens": 2},
    RESPONSE.path: {"input": "Hi", "max_output_tokens": 2},
    EMBEDDING.path: {"input": "Hi"},
    "/v1/score": {"prompt": "Hi", "continuations": [" there"]},
    "/v1/rerank": {"query": "Hi", "documents": ["there"]},
    "/tokenize": {"messages": MESSAGES},
    "/detokenize": {"tokens": [72]},
    "/apply-template": {"messages": MESSAGES},
    "/predict": {"prompt": "Hi", "max_new_tokens": 2},
}
PLAUSIBLE: dict[str, Any] = {
    "model": "tiny",
    "messages": MESSAGES,
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "logit_bias": {"65": 5},
    "n": 2,
    "seed": 7,
    "stop": ["."],
    "stream": False,
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 3,
    "max_completion_tokens": 3,
    "max_output_tokens": 3,
    "max_new_tokens": 3,
    "response_format": {"type": "text"},
    "reasoning_effort": "low",
    "top_k": 5,
    "min_p": 0.1,
    "typical_p": 0.9,
    "repetition_penalty": 1.1,
    "bad_words": ["no", [65]],
    "allowed_token_ids": [65, 66],
    "min_tokens": 1,
    "ignore_eos": True,
    "stop_token_ids": [65],
    "include_stop": True,
    "dry_multiplier": 0.5,
    "dry_base": 1.5,
    "dry_allowed_length": 3,
    "dry_sequence_breakers": ["."],
    "xtc_probability": 0.1,
    "xtc_threshold": 0.2,
    "cache_prompt": False,
    "prompt_lookup_num_tokens": 2,
    "regex": "[a-z]+",
    "grammar": 'start: "a"',
    "choices": ["yes"],
    "schema": {"type": "object"},
    "chat_template_kwargs": {"enable_thinking": False},
    "prompt": "Hi",
    "echo": True,
    "instructions": "Be kind.",
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": "low"},
    "include": ["message.output_text.logprobs"],
    "metadata": {"a": "b"},
    "encoding_format": "base64",
    "pooling": "mean",
    "top_n": 1,
    "return_documents": False,
    "method": "cosine",
    "pieces": True,
}
TOGETHER: dict[str, dict[str, Any]] = {
    "stream_options": {"stream": True, "stream_options": {"include_usage": True}},
    "top_logprobs": {"logprobs": True, "top_logprobs": 2},
    "instruction": {"method": "yes_no", "instruction": "Find it."},
    "continue_final_message": {
        "messages": [*MESSAGES, {"role": "assistant", "content": "I"}],
        "continue_final_message": True,
    },
    "max_completion_tokens": {"max_tokens": None, "max_completion_tokens": 3},
    "text_1": {"prompt": None, "continuations": None, "text_1": "a", "text_2": ["b"]},
    "text_2": {"prompt": None, "continuations": None, "text_1": ["a"], "text_2": ["b"]},
    "content": {"messages": None, "content": "Hi"},
    "reasoning_budget": {"reasoning_budget": 5},
}
OWN: dict[tuple[str, str], Any] = {
    (COMPLETION.path, "logprobs"): 2,
    (CHAT.path, "logprobs"): True,
    (RESPONSE.path, "tools"): [FLAT_TOOL],
    (RESPONSE.path, "top_logprobs"): 2,
}
NEEDS_TOOLS = ("tool_choice", "parallel_tool_calls")
WRONG: list[Any] = [7.5, -3, "", "text", True, [], [[]], [None], {}, {"x": [1]}, 10**12]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    with writes("yes", "<think></think><tool_call>") as client:
        connection = HTTPConnection("127.0.0.1", client.base_url.port or 0, timeout=300)

        def post(path: str, body: Any) -> tuple[int, Any]:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
            if answer.headers.get_content_type() == "text/event-stream":
                return answer.status, raw
            return answer.status, json.loads(raw)

        yield post
        connection.close()


@pytest.mark.parametrize(
    ("endpoint", "params"),
    [
        (CHAT, chat_create_params.CompletionCreateParamsStreaming),
        (COMPLETION, completion_create_params.CompletionCreateParamsStreaming),
        (EMBEDDING, embedding_create_params.EmbeddingCreateParams),
        (RESPONSE, response_create_params.ResponseCreateParamsStreaming),
    ],
)
def test_the_table_has_each_field_of_openai_and_marks_the_others(endpoint: Endpoint, params: type) -> None:
    fields = endpoint.fields or {}
    assert {name for name, field in fields.items() if not field.is_own} == set(get_type_hints(params))


SUPPORTED = [
    (it.path, name)
    for it in POSTS
    for name, field in (it.fields or {}).items()
    if field.support == "supported"
]


def body_with(path: str, name: str) -> dict[str, Any]:
    if (path, name) in OWN:
        return {**BASE[path], name: OWN[path, name]}
    if name in TOGETHER:
        return {**BASE[path], **TOGETHER[name]}
    if name == "tools":
        return {**BASE[path], "tools": [TOOL]}
    if name in NEEDS_TOOLS:
        tool = FLAT_TOOL if path == RESPONSE.path else TOOL
        return {**BASE[path], "tools": [tool], name: "auto" if name == "tool_choice" else False}
    body = dict(BASE[path])
    if name == "continue_final_message" or name not in body:
        body[name] = PLAUSIBLE[name]
    return body


def fill(path: str, name: str) -> dict[str, Any]:
    """Return a body with the field, whose messages are those of the route."""
    body = body_with(path, name)
    if name == "continue_final_message" and path == RESPONSE.path:
        body["input"] = body.pop("messages")
    return body


@pytest.mark.parametrize(("path", "name"), SUPPORTED)
def test_a_supported_field_is_accepted(ask: Ask, path: str, name: str) -> None:
    status, answer = ask(path, fill(path, name))
    assert status == 200, answer


@pytest.mark.parametrize(("path", "name"), SUPPORTED)
def test_a_wrong_value_is_refused_with_the_name_of_the_field(ask: Ask, path: str, name: str) -> None:
    endpoint = next(it for it in POSTS if it.path == path)
    wrong = [it for it in WRONG if not is_valid(endpoint, name, it)]
    assert wrong
    for value in wrong:
        status, answer = ask(path, {**fill(path, name), name: value})
        assert status in (400, 404), (name, value, answer)
        param = answer["error"]["param"]
        assert param.partition("[")[0].partition(".")[0] == name, (value, answer)


def is_valid(endpoint: Endpoint, name: str, value: Any) -> bool:
    checker = jsonschema.Draft202012Validator(request_schema(endpoint)["properties"][name])
    return bool(checker.is_valid(value))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (it.path, name)
        for it in POSTS
        for name, field in (it.fields or {}).items()
        if field.support in ("refused", "default only")
    ],
)
def test_what_is_not_supported_is_refused_by_name(ask: Ask, path: str, name: str) -> None:
    status, answer = ask(path, {**BASE[path], name: "surely not"})
    assert status == 400
    assert answer["error"]["param"] == name
    assert name in answer["error"]["message"]


def test_null_is_the_default_of_all_optional_fields(ask: Ask) -> None:
    for endpoint in POSTS:
        fields = (endpoint.fields or {}).keys() - BASE[endpoint.path].keys()
        status, answer = ask(endpoint.path, {**dict.fromkeys(fields), **BASE[endpoint.path]})
        refused = [name for name, it in (endpoint.fields or {}).items() if it.support == "refused"]
        assert status == 200, (endpoint.path, refused, answer)


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Return a strategy of values that a schema of this API accepts."""
    if "anyOf" in schema:
        return st.one_of([values(it) for it in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    if kind == "object":
        required = {name: values(schema["properties"][name]) for name in schema.get("required", ())}
        names = schema.get("properties", {}).keys() - required.keys()
        optional = {name: values(schema["properties"][name]) for name in names}
        return st.fixed_dictionaries(required, optional=optional)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        "integer": st.integers(least, min(schema.get("maximum", 300), 300)),
        "number": st.floats(least, schema.get("maximum", 4)),
        "boolean": st.booleans(),
        "null": st.none(),
        "string": st.text(min_size=schema.get("minLength", 0), max_size=9),
        None: st.none(),
    }
    if kind == "array":
        return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
    return simple[kind]


ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-9, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("path", PATHS)
def test_no_request_is_an_error_of_the_server(ask: Ask, path: str) -> None:
    endpoint = next(it for it in POSTS if it.path == path)
    schema = request_schema(endpoint)
    names = st.sampled_from(sorted(schema["properties"]))
    valid = st.dictionaries(names, st.none(), max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({name: values(schema["properties"][name]) for name in chosen})
    )
    bodies = st.builds(
        lambda some, others: {**BASE[path], **some, **others}, valid, st.dictionaries(names, ANY, max_size=1)
    )

    @settings(max_examples=60, database=None, derandomize=True)
    @given(bodies)
    def check(body: Any) -> None:
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "n"):
            if isinstance(body.get(name), int):
                body[name] = min(body[name], 3)
        status, answer = ask(path, body)
        assert status in (200, 400, 404), (body, answer)
        if status != 200:
            assert set(answer["error"]) == {"message", "type", "param", "code"}
            assert answer["error"]["message"]

    check()
