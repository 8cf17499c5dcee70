"""The OpenAPI document of the API."""

from collections.abc import Sequence
from typing import Any

from litgpt.application.openai.description.answer_schemas import ANSWER_SCHEMAS
from litgpt.application.openai.description.endpoints import Endpoint
from litgpt.application.openai.fields import Field

_ERRORS = {
    "400": "The request is not valid, or asks for what is not supported.",
    "401": "The API key is missing or wrong.",
    "403": "The request comes from a web page that may not use the server, or names another host.",
    "404": "The model does not exist.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON in UTF-8.",
    "429": "Too many requests wait. `Retry-After` has the seconds to wait.",
    "500": "An error of the server.",
    "503": "The server is shutting down, or cannot answer at the moment.",
}
_OF_GET = ("401", "403", "404", "500", "503")


def openapi_document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of routes.

    Args:
        endpoints: The routes.
        version: The version of the library.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LitGPT",
            "version": version,
            "description": "OpenAI's API, and routes of LitGPT.",
        },
        "paths": {it.path: {"post" if it.fields else "get": _operation(it)} for it in endpoints},
        "components": {
            "schemas": dict(ANSWER_SCHEMAS),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def request_schema(endpoint: Endpoint) -> dict[str, Any]:
    """Return the JSON schema of the body of a request."""
    fields = endpoint.fields or {}
    return {
        "type": "object",
        "properties": {
            name: _field_schema(endpoint, name, field)
            for name, field in fields.items()
            if field.support != "refused"
        },
        "required": list(endpoint.required),
        "additionalProperties": False,
    }


def _field_schema(endpoint: Endpoint, name: str, field: Field) -> dict[str, Any]:
    note = {"description": field.note} if field.note else {}
    if field.support == "ignored":
        return {**note, "description": f"Ignored. {field.note}".rstrip()}
    if field.support == "default only":
        return {**note, "enum": [*field.accepted, None]}
    schema = endpoint.schema(name)
    return {**note, **(schema if name in endpoint.required else {"anyOf": [schema, {"type": "null"}]})}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.path.strip("/")
        .replace("/", "_")
        .replace("-", "_")
        .replace("{model}", "model"),
        "responses": {"200": _success(endpoint), **_error_responses(endpoint)},
    }
    if "{model}" in endpoint.path:
        name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
        operation["parameters"] = [name]
    if endpoint.fields is not None:
        content = {"application/json": {"schema": request_schema(endpoint)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _success(endpoint: Endpoint) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(endpoint.answer)}}
    if endpoint.event is not None:
        content["text/event-stream"] = {"schema": _ref(endpoint.event)}
    return {"description": "The answer.", "content": content}


def _error_responses(endpoint: Endpoint) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("Error")}}
    statuses = _ERRORS if endpoint.fields is not None else _OF_GET
    return {status: {"description": _ERRORS[status], "content": content} for status in statuses}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
