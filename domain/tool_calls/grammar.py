"""The grammar of tool calls: literal strings and JSON schemas, as plain data for constrained decoding."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from litgpt.domain.tool_calls.deltas import dump_json
from litgpt.domain.tool_calls.formats import (
    BareKeyArguments,
    ChannelFormat,
    JSONArguments,
    JSONCall,
    TaggedArguments,
    ToolCallFormat,
)
from litgpt.domain.tool_calls.json_stream import schema_types, typed_value

_ANY_OBJECT = {"type": "object"}
_ELSEWHERE = frozenset(("additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"))
"""Keywords with which an object may have properties that `properties` does not list."""
_DEFINITIONS = ("$defs", "definitions")


@attrs.frozen
class Literal:
    """Fixed text."""

    text: str


@attrs.frozen
class JSONText:
    """JSON that matches a schema.

    Attributes:
        schema: The JSON schema.
        quote: If set, strings are between this mark, without escapes, and keys are not quoted.
    """

    schema: Mapping[str, Any]
    quote: str | None = None


@attrs.frozen
class FreeText:
    """Any text without a mark, which the next literal begins with."""

    until: str


@attrs.frozen
class Number:
    """The number of a call."""


@attrs.frozen
class CallId:
    """An id of letters and digits, which may be missing, after a mark."""

    begin: str


@attrs.frozen
class OneOf:
    """One of several texts."""

    texts: tuple[str, ...]


@attrs.frozen
class Parameter:
    """An argument that is written as text between marks."""

    name: str
    required: bool
    segments: tuple[Literal | JSONText | FreeText | OneOf, ...]


@attrs.frozen
class OtherParameters:
    """Any number of arguments that the schema does not list, which are written as text between marks.

    Attributes:
        listed: The names of the other arguments.
        begin: What stands before the name.
        segments: What follows the name.
    """

    listed: tuple[str, ...]
    begin: Literal
    segments: tuple[Literal | FreeText, ...]


Segment: TypeAlias = Literal | JSONText | FreeText | OneOf | Number | CallId | Parameter | OtherParameters


@attrs.frozen
class CallGrammar:
    """The text of the call of one tool, as segments in order. A literal may be empty."""

    name: str
    segments: tuple[Segment, ...]


@attrs.frozen(kw_only=True)
class ToolCallGrammar:
    """The text of tool calls: `begin call (separator call)* end`, with optional white space around the parts.

    Attributes:
        trigger: The text that begins the calls, after any other text. Text before it is not constrained.
            Empty: a call at the beginning of an answer needs no mark.
        begin: What the calls are preceded by, with the trigger.
        calls: The alternatives for each call.
        separator: What stands between calls; None: there is one call at each trigger.
        end: What the calls are followed by.
        before: What may stand before `begin`, any number of times, in an answer that has to call a tool.
    """

    trigger: str
    begin: str
    calls: tuple[CallGrammar, ...]
    separator: str | None
    end: str
    before: tuple[Segment, ...] = ()


def tool_call_grammar(
    form: ToolCallFormat | ChannelFormat, schemas: Mapping[str, Mapping[str, Any]]
) -> ToolCallGrammar:
    """Return the grammar of a format's calls of tools.

    Args:
        form: The format.
        schemas: The JSON schemas of the arguments of each tool, by the tool's name.
    """
    if isinstance(form, ChannelFormat):
        return _channel_grammar(form, schemas)
    calls = [CallGrammar(name, _call(form, name, schema or _ANY_OBJECT)) for name, schema in schemas.items()]
    several = bool(form.separator or form.call_end)
    return ToolCallGrammar(
        trigger=form.begin,
        begin=form.begin + form.opening,
        calls=tuple(calls),
        separator=form.separator if several else None,
        end=form.end,
    )


def _channel_grammar(form: ChannelFormat, schemas: Mapping[str, Mapping[str, Any]]) -> ToolCallGrammar:
    channel = f"{form.channel}{form.call_channel}"
    # The recipient stands in the channel or, then with the channel after it, in the role.
    types = (f" {form.call_content_type}{form.message}", form.message)
    header_ends = OneOf((*types, *(f"{channel}{text}" for text in types)))
    calls = [
        CallGrammar(name, (Literal(name), header_ends, JSONText(schema or _ANY_OBJECT)))
        for name, schema in schemas.items()
    ]
    message_end = form.ends[0]
    return ToolCallGrammar(
        trigger=form.recipient,
        begin=f"{channel} {form.recipient}",
        calls=tuple(calls),
        separator=None,
        end=form.call_end,
        before=(
            Literal(f"{form.channel}{form.reasoning[0]}{form.message}"),
            FreeText(message_end),
            Literal(f"{message_end}{form.start}assistant"),
        ),
    )


def _call(form: ToolCallFormat, name: str, schema: Mapping[str, Any]) -> tuple[Segment, ...]:
    call = form.call
    if isinstance(call, JSONCall):
        before = f"{{{dump_json(call.name)}: {dump_json(name)}, {dump_json(call.arguments[0])}: "
        return (Literal(before), JSONText(schema), Literal("}" + form.call_end))
    head: tuple[Segment, ...] = (Literal(call.before_name + name), Literal(call.after_name))
    if call.name_prefix:  # the name is an id, with the number of the call
        numbered = Literal(f"{call.before_name}{call.name_prefix}{name}:")
        head = (numbered, Number(), Literal(call.after_name))
    elif call.before_id:
        head = (head[0], CallId(call.before_id), head[1])
    match call.arguments:
        case JSONArguments():
            arguments: tuple[Segment, ...] = (JSONText(schema),)
        case BareKeyArguments(quote=quote):
            arguments = (JSONText(schema, quote),)
        case TaggedArguments() as tags:
            arguments = _parameters(tags, schema)
    return (*head, *arguments, Literal(form.call_end))


def may_have_others(schema: Mapping[str, Any]) -> bool:
    """Return whether an object may have properties that `properties` does not list.

    Objects that list properties and say nothing about others have no others, as models are not meant to
    invent arguments.
    """
    if schema.get("additionalProperties") is False:
        return "patternProperties" in schema
    return not isinstance(schema.get("properties"), Mapping) or bool(_ELSEWHERE & schema.keys())


def _parameters(tags: TaggedArguments, schema: Mapping[str, Any]) -> tuple[Parameter | OtherParameters, ...]:
    newline = "\n" if tags.newlines else ""
    properties, required = schema.get("properties"), schema.get("required") or ()
    definitions = {name: schema[name] for name in _DEFINITIONS if name in schema}
    parameters = list[Parameter | OtherParameters]()
    listed = properties if isinstance(properties, Mapping) else {}
    for name, described in listed.items():
        rule = described if isinstance(described, Mapping) else {}  # true: any value
        end = newline + tags.value_end
        value: JSONText | FreeText | OneOf = JSONText({**definitions, **rule} if _refers(rule) else rule)
        if texts := _fixed_texts(rule):
            value = OneOf(texts)
        elif (
            "string" in schema_types(rule) and "enum" not in rule
        ):  # written without quotes; a line break is a part of the text
            value, end = FreeText(tags.value_end), tags.value_end
        begin = Literal(f"{tags.key_begin}{name}{tags.key_end}{tags.value_begin}{newline}")
        parameters.append(Parameter(name, name in required, (begin, value, Literal(end))))
    if may_have_others(schema):
        after_name = Literal(f"{tags.key_end}{tags.value_begin}{newline}")
        text = after_name, FreeText(tags.value_end), Literal(tags.value_end)
        parameters.append(OtherParameters(tuple(listed), Literal(tags.key_begin), text))
    return tuple(parameters)


def _refers(rule: Any) -> bool:
    """Return whether a schema refers to another one."""
    if isinstance(rule, Mapping):
        return "$ref" in rule or any(map(_refers, rule.values()))
    return isinstance(rule, list) and any(map(_refers, rule))


def _fixed_texts(rule: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the values of an `enum` as the parser reads them from text; empty if there are none."""
    fixed = rule.get("enum")
    if not isinstance(fixed, list):
        return ()
    texts = [value if isinstance(value, str) else dump_json(value) for value in fixed]
    return tuple(texts) if [typed_value(text, rule) for text in texts] == fixed else ()
