"""A description of the API for a generator of requests: the types of the fields that clients send most."""

from typing import Any

_TEXTS: Any = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 3}]}
_MESSAGE: Any = {
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "role": {"enum": ["system", "user", "assistant", "tool"]},
        "content": {"type": "string", "maxLength": 50},
        "name": {"type": "string"},
    },
}
_SAMPLING: Any = {
    "model": {"enum": ["tiny"]},
    "max_tokens": {"type": "integer", "minimum": 0, "maximum": 4},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "top_k": {"type": "integer", "minimum": -1},
    "n": {"type": "integer", "minimum": 1, "maximum": 3},
    "seed": {"type": "integer"},
    "stop": _TEXTS,
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "logit_bias": {"type": "object", "additionalProperties": {"type": "number"}},
    "user": {"type": "string"},
}
_CHAT: Any = {
    **_SAMPLING,
    "messages": {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": 3},
    "logprobs": {"type": "boolean"},
    "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
    "response_format": {
        "type": "object",
        "properties": {
            "type": {"enum": ["text", "json_object", "json_schema"]},
            "json_schema": {"type": "object"},
        },
    },
    "tools": {"type": "array", "items": {"type": "object"}, "maxItems": 2},
    "tool_choice": {"enum": ["auto", "none", "required"]},
    "chat_template_kwargs": {"type": "object"},
}
_TOKENS: Any = {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 8}

_BODIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "/v1/chat/completions": (_CHAT, ["messages", "max_tokens"]),
    "/v1/completions": (
        {**_SAMPLING, "prompt": _TEXTS, "echo": {"type": "boolean"}, "logprobs": {"type": "integer"}},
        ["prompt", "max_tokens"],
    ),
    "/v1/responses": (
        {
            "model": {"enum": ["tiny"]},
            "input": _TEXTS,
            "max_output_tokens": {"type": "integer", "maximum": 4},
        },
        ["input", "max_output_tokens"],
    ),
    "/v1/embeddings": ({"input": _TEXTS, "encoding_format": {"enum": ["float", "base64"]}}, ["input"]),
    "/v1/rerank": (
        {"query": {"type": "string"}, "documents": _TEXTS, "top_n": {"type": "integer"}},
        ["query"],
    ),
    "/tokenize": ({"content": {"type": "string"}, "pieces": {"type": "boolean"}}, ["content"]),
    "/detokenize": ({"tokens": _TOKENS}, ["tokens"]),
}
_JSON: Any = {"description": "An answer.", "content": {"application/json": {"schema": {"type": "object"}}}}
_NULLABLE: Any = {"type": ["string", "null"]}
_ERROR: Any = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string", "minLength": 1},
                "type": {"type": "string"},
                "param": _NULLABLE,
                "code": _NULLABLE,
            },
        }
    },
}


def openapi() -> dict[str, Any]:
    """Return the description; every status but 200 is an error in the format of OpenAI's API."""
    refused = {"description": "An error.", "content": {"application/json": {"schema": _ERROR}}}
    responses = {"200": _JSON, "default": refused}
    paths: dict[str, Any] = {
        path: {"post": {"requestBody": _body(*body), "responses": responses}}
        for path, body in _BODIES.items()
    }
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    paths["/v1/models"] = {"get": {"responses": responses}}
    paths["/v1/models/{model}"] = {"get": {"parameters": [name], "responses": responses}}
    return {"openapi": "3.1.0", "info": {"title": "litgpt serve", "version": "1"}, "paths": paths}


def _body(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"required": True, "content": {"application/json": {"schema": schema}}}
