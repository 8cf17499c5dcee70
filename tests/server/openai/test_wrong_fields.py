"""Each field of a chat request with values of a wrong type or range is refused by its name."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from openai import OpenAI

from litgpt.application.openai.fields import CHAT_FIELDS
from tests.server.openai.scripted import writes

NUMBER: list[Any] = ["0.5", True, [], {}]
FLAG: list[Any] = ["true", 1, [], {}]
STRING: list[Any] = [1, True, [], {}]
COUNT: list[Any] = [1.5, "1", True, -1, [], {}]

WRONG: dict[str, list[Any]] = {
    "messages": ["Hi", 1, {}, [1], [{"role": 1}], [{"content": "Hi"}]],
    "model": [1, True, [], {}],
    "frequency_penalty": NUMBER,
    "presence_penalty": NUMBER,
    "logit_bias": [1, "a", [1], {"a": 1}, {"-1": 1}, {"1": "a"}],
    "n": [0, 129, *COUNT],
    "seed": ["1", 1.5, True, [], {}],
    "stop": [1, True, {}, [1], [""], ""],
    "stream": FLAG,
    "stream_options": [1, "a", [], {"include_usage": True}],
    "temperature": [-0.1, *NUMBER],
    "top_p": [-0.1, 1.1, *NUMBER],
    "max_tokens": COUNT,
    "max_completion_tokens": COUNT,
    "logprobs": FLAG,
    "top_logprobs": [21, *COUNT],
    "response_format": [1, "json_object", [], {"type": "xml"}],
    "tools": [1, "f", {}, [1], ["f"]],
    "tool_choice": [1, "f", [], {}, "required"],
    "parallel_tool_calls": FLAG,
    "reasoning_effort": STRING,
    "modalities": ["text", 1, ["audio"]],
    "verbosity": [1, "high"],
    "service_tier": [1, "flex"],
    "add_generation_prompt": [False, "true"],
    "top_k": [1.5, "1", True, -2, [], {}],
    "min_p": [-0.1, 1.1, *NUMBER],
    "typical_p": [-0.1, 1.1, *NUMBER],
    "repetition_penalty": [-1, 0, *NUMBER],
    "bad_words": [1, {}, [1]],
    "allowed_token_ids": [1, "a", {}, ["a"], [-1]],
    "min_tokens": COUNT,
    "ignore_eos": FLAG,
    "stop_token_ids": [1, "a", {}, ["a"], [-1]],
    "include_stop": FLAG,
    "dry_multiplier": [-1, *NUMBER],
    "dry_base": NUMBER,
    "dry_allowed_length": COUNT,
    "dry_sequence_breakers": [1, {}, [{}]],
    "xtc_probability": [-0.1, 1.1, *NUMBER],
    "xtc_threshold": [-0.1, *NUMBER],
    "cache_prompt": FLAG,
    "prompt_lookup_num_tokens": COUNT,
    "regex": [1, True, [], {}, "("],
    "grammar": [1, True, [], {}, "start"],
    "choices": [1, True, {}, [], [1]],
    "schema": [1, "a", []],
    "chat_template_kwargs": [1, "a", []],
    "continue_final_message": [1, [], {}],
    "reasoning_budget": COUNT,
}
FREE = {name for name, it in CHAT_FIELDS.items() if it.support in ("ignored", "refused")}


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAI]:
    with writes("yes") as client:
        yield client


def test_every_field_that_has_an_effect_has_rows() -> None:
    assert CHAT_FIELDS.keys() - FREE == WRONG.keys()


@pytest.mark.parametrize("field", WRONG)
def test_wrong_values_are_refused_by_the_name_of_the_field(server: OpenAI, field: str) -> None:
    connection = HTTPConnection(str(server.base_url.host), server.base_url.port, timeout=300)
    seen = []
    for value in WRONG[field]:
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, field: value}
        if field == "max_completion_tokens":
            del body["max_tokens"]
        connection.request(
            "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        reply = connection.getresponse()
        answer = json.load(reply)
        param = str(answer.get("error", {}).get("param")).partition("[")[0].partition(".")[0]
        if (reply.status, param) != (400, field):
            seen.append((value, reply.status, answer.get("error", "answered")))
    connection.close()
    assert not seen
