"""Read the bodies of requests to `/v1/responses`."""

from collections.abc import Mapping
from typing import Any

import attrs

from litgpt.application.openai.fields import UnsupportedField, read_fields
from litgpt.application.openai.requests import CompletionCall, read_chat
from litgpt.application.openai.responses.fields import RESPONSE_FIELDS
from litgpt.application.openai.responses.items import read_messages
from litgpt.application.openai.tool_names import check_tool_name
from litgpt.domain.errors import InvalidArgument, MissingArgument, WrongType
from litgpt.domain.validators import integer

_LOGPROBS = "message.output_text.logprobs"
_INCLUDED = (_LOGPROBS, "reasoning.encrypted_content")
_UNCHANGED = ("model", "temperature", "top_p", "stream", "parallel_tool_calls", "top_logprobs")
_TOOL_FIELDS = ("name", "description", "parameters", "strict")


@attrs.frozen(kw_only=True)
class ResponseCall:
    """A request for a response.

    Attributes:
        call: The chat completion that answers it.
        described: The fields of the request that the response repeats.
    """

    call: CompletionCall
    described: Mapping[str, Any]


def read_response(body: Mapping[str, Any]) -> ResponseCall:
    """Read the body of a request to `/v1/responses`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields = read_fields(body, RESPONSE_FIELDS)
    if "input" not in fields:
        raise MissingArgument("input", None, "add it to the body of a request to /v1/responses.")
    instructions = fields.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise WrongType("instructions", instructions, "a text")
    own = {name for name, field in RESPONSE_FIELDS.items() if field.is_own}
    chat = {name: value for name, value in fields.items() if name in own or name in _UNCHANGED}
    chat["messages"] = read_messages(fields["input"], instructions)
    if "max_output_tokens" in fields:
        chat["max_tokens"] = integer("max_output_tokens", fields["max_output_tokens"], 1)
    text, reasoning = _object(fields, "text"), _object(fields, "reasoning")
    chat["response_format"] = _response_format(text)
    chat["reasoning_effort"] = _effort(reasoning)
    tools = _tools(fields.get("tools", []))
    chat["tools"] = [{"type": "function", "function": it} for it in tools] or None
    chat["tool_choice"] = _tool_choice(fields.get("tool_choice"))
    if _LOGPROBS in _include(fields) or "top_logprobs" in fields:
        chat["logprobs"] = True
    return ResponseCall(
        call=read_chat(chat),
        described={
            "instructions": instructions,
            "max_output_tokens": fields.get("max_output_tokens"),
            "metadata": _metadata(fields),
            "parallel_tool_calls": fields.get("parallel_tool_calls", True),
            "reasoning": {"effort": reasoning.get("effort"), "summary": None},
            "text": {"format": text.get("format") or {"type": "text"}},
            "tool_choice": fields.get("tool_choice", "auto"),
            "tools": [{"type": "function", "parameters": None, "strict": None, **it} for it in tools],
            "top_logprobs": fields.get("top_logprobs", 0),
        },
    )


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise WrongType(name, value, "an object")
    return value


def _response_format(text: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for name in text.keys() - {"format", "verbosity"}:
        raise UnsupportedField(f"text.{name}", text[name], "Remove it.")
    if text.get("verbosity") not in (None, "medium"):
        raise InvalidArgument(
            "text.verbosity", text["verbosity"], "'medium', the only value that is supported"
        )
    described = text.get("format")
    if described is None:
        return None
    if not isinstance(described, dict):
        raise WrongType("text.format", described, "an object with the type text, json_object or json_schema")
    kind = described.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise InvalidArgument("text.format.type", kind, "text, json_object or json_schema")
    if kind != "json_schema":
        return {"type": kind}
    if not isinstance(described.get("name"), str):
        raise WrongType("text.format.name", described.get("name"), "a text")
    if not isinstance(described.get("schema"), dict):
        raise WrongType("text.format.schema", described.get("schema"), "a JSON schema, an object")
    return {"type": kind, "json_schema": described}


def _effort(reasoning: Mapping[str, Any]) -> str | None:
    for name in reasoning.keys() - {"effort", "summary", "generate_summary", "context", "mode"}:
        raise UnsupportedField(f"reasoning.{name}", reasoning[name], "Remove it.")
    effort = reasoning.get("effort")
    if effort is not None and not isinstance(effort, str):
        raise WrongType("reasoning.effort", effort, "a string such as 'low'")
    return effort


def _tools(tools: Any) -> list[dict[str, Any]]:
    """Return the functions, with the fields that the response repeats."""
    if not isinstance(tools, list):
        raise WrongType("tools", tools, "a list of functions")
    functions = []
    for number, tool in enumerate(tools):
        at = f"tools[{number}]"
        if not isinstance(tool, dict):
            raise WrongType(at, tool, "an object such as {'type': 'function', 'name': …, 'parameters': …}")
        if tool.get("type") != "function":
            expected = "function: remove other tools, which this server does not have"
            raise InvalidArgument(f"{at}.type", tool.get("type"), expected)
        if not isinstance(tool.get("name"), str) or not tool["name"]:
            raise WrongType(f"{at}.name", tool.get("name"), "the name of a function")
        check_tool_name(f"{at}.name", tool["name"])
        for name, kind, expected in (
            ("parameters", dict, "a JSON schema, an object"),
            ("description", str, "a text"),
            ("strict", bool, "true or false"),
        ):
            if tool.get(name) is not None and not isinstance(tool[name], kind):
                raise WrongType(f"{at}.{name}", tool[name], expected)
        functions.append({name: tool[name] for name in _TOOL_FIELDS if tool.get(name) is not None})
    return functions


def _tool_choice(choice: Any) -> Any:
    """Return the choice as in chat completions, where functions are nested."""
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") == "allowed_tools":
        tools = choice.get("tools")
        if not isinstance(tools, list):
            raise WrongType("tool_choice.tools", tools, "a list of functions")
        allowed = {"mode": choice.get("mode"), "tools": [_tool_choice(tool) for tool in tools]}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return choice


def _include(fields: Mapping[str, Any]) -> list[Any]:
    included = fields.get("include", [])
    if not isinstance(included, list):
        raise WrongType("include", included, "a list of strings")
    for number, name in enumerate(included):
        if name not in _INCLUDED:
            raise InvalidArgument(f"include[{number}]", name, " or ".join(_INCLUDED))
    return included


def _metadata(fields: Mapping[str, Any]) -> Mapping[str, str]:
    metadata = _object(fields, "metadata")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise WrongType("metadata", metadata, "an object of strings")
    return metadata
