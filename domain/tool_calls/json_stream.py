"""JSON values in a stream of text, and the values of arguments that are not JSON."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from litgpt.domain.tool_calls.deltas import dump_json
from litgpt.domain.tool_calls.text_stream import Reading, TextStream, UnparsableCall

_CLOSING = {"{": "}", "[": "]"}
_MAX_DEPTH = 100
_OUTSIDE_STRING = re.compile(r'[^"{}\[\]]+')
_INSIDE_STRING = re.compile(r'[^"\\\x00-\x1f]+')
_PYTHON_LITERALS = {"True": True, "False": False, "None": None}  # some templates write them so
_SCALAR = re.compile(r"[^\s,:{}\[\]\"]+")


def ignore(_text: str) -> None:
    """Ignore pieces of a value."""


def read_json(stream: TextStream, emit: Callable[[str], None] = ignore) -> Reading[Any]:
    """Read a JSON value, and pass its text to `emit` in pieces.

    Control characters in strings, which models write and JSON does not allow, are escaped.

    Raises:
        UnparsableCall: It is not valid JSON, or nested too deeply.
    """
    text: list[str] = []

    def write(piece: str) -> None:
        text.append(piece)
        emit(piece)

    if not (yield from stream.need(1)):
        raise UnparsableCall
    first = stream.rest[0]
    if first in _CLOSING:
        yield from _read_container(stream, write)
    elif first == '"':
        yield from _read_string(stream, write)
    else:
        yield from _read_scalar(stream, write)
    return parse_json("".join(text))


def parse_json(text: str) -> Any:
    """Return the value of JSON text.

    Raises:
        UnparsableCall: It is not valid, or contains half of a surrogate pair, which is not text.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        dump_json(value).encode()
    except (ValueError, RecursionError) as error:
        raise UnparsableCall from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _read_container(stream: TextStream, write: Callable[[str], None]) -> Reading[None]:
    closing: list[str] = []
    while (yield from stream.need(1)):
        rest = stream.rest
        if plain := _OUTSIDE_STRING.match(rest):
            write(stream.take(plain.end()))
        elif rest[0] == '"':
            yield from _read_string(stream, write)
        elif rest[0] in _CLOSING:
            closing.append(_CLOSING[rest[0]])
            if len(closing) > _MAX_DEPTH:
                raise UnparsableCall
            write(stream.take(1))
        else:
            if closing.pop() != rest[0]:
                raise UnparsableCall
            write(stream.take(1))
            if not closing:
                return
    raise UnparsableCall


def _read_string(stream: TextStream, write: Callable[[str], None]) -> Reading[None]:
    write(stream.take(1))
    while (yield from stream.need(1)):
        rest = stream.rest
        if plain := _INSIDE_STRING.match(rest):
            write(stream.take(plain.end()))
        elif rest[0] == '"':
            write(stream.take(1))
            return
        elif rest[0] == "\\":
            if not (yield from stream.need(2)):
                break
            write(stream.take(2))
        else:
            write(dump_json(stream.take(1))[1:-1])
    raise UnparsableCall


def _read_scalar(stream: TextStream, write: Callable[[str], None]) -> Reading[None]:
    text = ""
    while (yield from stream.need(1)) and (piece := _SCALAR.match(stream.rest)):
        text += stream.take(piece.end())
    if not text:
        raise UnparsableCall
    write(text)


def read_bare_key_value(stream: TextStream, quote: str, depth: int = _MAX_DEPTH) -> Reading[Any]:
    """Read a value like JSON, with keys that are not quoted and strings between the mark `quote`.

    Raises:
        UnparsableCall: It is something else.
    """
    yield from stream.skip_spaces()
    if not depth or not (yield from stream.need(1)):
        raise UnparsableCall
    if (yield from stream.skip(quote)):
        return (yield from _read_until(stream, quote))
    if (yield from stream.skip("{")):
        items: dict[str, Any] = {}
        while not (yield from _closes(stream, "}", first=not items)):
            if (yield from stream.skip(quote)):
                key = yield from _read_until(stream, quote)
                yield from stream.skip_spaces()
            else:
                key = yield from stream.name((":",))
            yield from stream.expect(":")
            items[key] = yield from read_bare_key_value(stream, quote, depth - 1)
        return items
    if (yield from stream.skip("[")):
        values: list[Any] = []
        while not (yield from _closes(stream, "]", first=not values)):
            values.append((yield from read_bare_key_value(stream, quote, depth - 1)))
        return values
    if stream.rest[0] == '"':
        return (yield from read_json(stream))
    text: list[str] = []
    yield from _read_scalar(stream, text.append)
    return None if text == ["None"] else parse_json("".join(text))


def _closes(stream: TextStream, closing: str, *, first: bool) -> Reading[bool]:
    """Read the end of a container, or the comma before its next item; return whether it is the end."""
    yield from stream.skip_spaces()
    if (yield from stream.skip(closing)):
        return True
    if not first:
        yield from stream.expect(",")
        yield from stream.skip_spaces()
    return False


def _read_until(stream: TextStream, mark: str) -> Reading[str]:
    """Read text and the mark that ends it."""
    text: list[str] = []
    while piece := (yield from stream.piece((mark,))):
        text.append(piece)
    yield from stream.expect(mark)
    return "".join(text)


def read_tagged_text(
    stream: TextStream, end: str, emit: Callable[[str], None], *, newlines: bool
) -> Reading[str]:
    """Read text and the mark `end`, and pass the text to `emit` in pieces.

    With `newlines`, one line break at each end is not part of the text.
    """
    text, last = "", ""
    if newlines:
        yield from stream.skip("\n")
    while piece := (yield from stream.piece((end,))):
        piece, last = last + piece, ""
        if newlines and piece.endswith("\n"):
            piece, last = piece[:-1], "\n"
        text += piece
        emit(piece)
    yield from stream.expect(end)
    return text


def typed_value(text: str, schema: Any) -> Any:
    """Return the value of an argument that is written as text: a string, or JSON if its schema allows that.

    Args:
        text: The value as the model wrote it.
        schema: The JSON schema of the argument; empty or None if it is unknown.
    """
    types = schema_types(schema)
    value: Any
    if text in _PYTHON_LITERALS:
        value = _PYTHON_LITERALS[text]
    else:
        try:
            value = parse_json(text)
        except UnparsableCall:
            return text
    return text if "string" in types and json_type(value) not in types else value


def schema_types(schema: Any) -> Sequence[str]:
    """Return the types that a schema allows; empty if it does not restrict them, apart from `anyOf`."""
    if not isinstance(schema, Mapping):  # true and false are schemas as well
        return ()
    if isinstance(options := schema.get("anyOf"), Sequence) and "type" not in schema:
        types = [schema_types(option) for option in options if isinstance(option, Mapping)]
        return [name for names in types for name in names] if all(types) else ()
    types = schema.get("type", ())
    names = [types] if isinstance(types, str) else [*map(str, types)] if isinstance(types, list) else []
    return [*names, "null"] if names and schema.get("nullable") is True else names


def json_type(value: object) -> str:
    """Return the JSON schema's name of the type of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
