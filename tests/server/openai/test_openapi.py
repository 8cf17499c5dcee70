"""`/openapi.json` is an OpenAPI document, and the answers are as it says."""

import json
from http.client import HTTPConnection
from typing import Any

import jsonschema
import pytest
from openai import OpenAI

from litgpt.server.run import RunningServer
from tests.server.openai.conftest import NAME

MESSAGES = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 2, "logprobs": True, "n": 2},
    "/v1/completions": {"prompt": "Hi", "max_tokens": 2},
    "/v1/responses": {"input": "Hi", "max_output_tokens": 2},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/score": {"prompt": "Hi", "continuations": [" there"]},
    "/v1/rerank": {"query": "Hi", "documents": ["there", "here"]},
    "/tokenize": {"messages": MESSAGES},
    "/detokenize": {"tokens": [72]},
    "/apply-template": {"messages": MESSAGES},
    "/predict": {"prompt": "Hi", "max_new_tokens": 2},
}


@pytest.fixture(scope="module")
def document(client: OpenAI, server: RunningServer) -> Any:
    return client.get(f"{server.url}/openapi.json", cast_to=object)


def validator(document: Any, schema: Any) -> Any:
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator.check_schema(whole)
    return jsonschema.Draft202012Validator(whole)


def test_each_route_is_described(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {*BODIES, "/v1/models", "/v1/models/{model}"}
    for path, item in document["paths"].items():
        (operation,) = item.values()
        assert "200" in operation["responses"], path
        for schema in document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", [*BODIES, "/v1/models", f"/v1/models/{NAME}"])
def test_answers_and_errors_are_as_described(document: Any, server: RunningServer, path: str) -> None:
    operations = document["paths"][path.replace(NAME, "{model}")]
    (method, operation), *_ = operations.items()
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=300)
    bodies = [(BODIES.get(path), 200)]
    if method == "post":
        validator(document, operation["requestBody"]["content"]["application/json"]["schema"]).validate(
            BODIES[path]
        )
        bodies.append(({"surely_not": 1}, 400))
    for body, status in bodies:
        raw = None if body is None else json.dumps(body)
        connection.request(method.upper(), path, raw, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == status
        content = operation["responses"][str(status)]["content"]["application/json"]
        validator(document, content["schema"]).validate(json.load(answer))
    connection.close()
