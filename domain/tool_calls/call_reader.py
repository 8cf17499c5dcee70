"""Reads one tool call from a stream, in any of the formats."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from litgpt.domain.tool_calls.deltas import (
    Delta,
    ToolCall,
    ToolCallArguments,
    ToolCallEnd,
    ToolCallRejected,
    ToolCallStart,
    dump_json,
)
from litgpt.domain.tool_calls.formats import (
    BareKeyArguments,
    JSONArguments,
    JSONCall,
    NamedCall,
    TaggedArguments,
    ToolCallFormat,
)
from litgpt.domain.tool_calls.json_stream import (
    ignore,
    parse_json,
    read_bare_key_value,
    read_json,
    read_tagged_text,
    schema_types,
    typed_value,
)
from litgpt.domain.tool_calls.text_stream import Reading, TextStream, UnparsableCall


@attrs.define
class CallReader:
    """One tool call while it is read.

    Attributes:
        stream: The text of the answer.
        index: The index of the call among those that have started.
        schemas: The JSON schemas of the arguments of each tool, by the tool's name.
        emit: Called with each delta of the call.
        new_id: Returns an id, for a call in whose format there is none.
        bare: Whether no mark has announced the call: it must then have the name of a tool, and nothing but
            the keys of a call.
    """

    stream: TextStream
    index: int
    schemas: Mapping[str, Mapping[str, Any]]
    emit: Callable[[Delta], None] = attrs.field(repr=False)
    new_id: Callable[[], str] = attrs.field(repr=False)
    bare: bool = False
    started: bool = attrs.field(default=False, init=False)
    _id: str | None = attrs.field(default=None, init=False)
    _name: str | None = attrs.field(default=None, init=False)
    _held: list[str] = attrs.field(factory=list, init=False)
    _arguments: Any = attrs.field(default=None, init=False)

    def read(self, form: ToolCallFormat) -> Reading[None]:
        """Read the call up to the end of its arguments.

        Raises:
            UnparsableCall: It is not a call.
        """
        if isinstance(form.call, JSONCall):
            yield from self._read_json_call(form.call)
        else:
            yield from self._read_named_call(form.call, tuple(filter(None, (form.call_end, form.end))))

    def read_arguments(self, name: str) -> Reading[None]:
        """Read JSON arguments of a call whose name is known."""
        self._start(name)
        yield from self._read_json_arguments()

    def complete(self) -> None:
        """Emit the end of the call, after its text has been read."""
        assert self._name is not None  # noqa: S101 - a call that was read has one
        assert self._id is not None  # noqa: S101
        raw_text = self.stream.record.strip()
        self.emit(ToolCallEnd(self.index, ToolCall(self._id, self._name, self._arguments, raw_text)))

    def reject(self) -> None:
        """Emit that the call is none, if it has started."""
        if self.started:
            self.emit(ToolCallRejected(self.index))

    def _start(self, name: str, call_id: str | None = None) -> None:
        if self.bare and name not in self.schemas:
            raise UnparsableCall
        self._name = name
        self._id = call_id or self._id or self.new_id()
        self.started = True
        self.emit(ToolCallStart(self.index, self._id, name))
        for text in self._held:
            self._write(text)

    def _write(self, text: str) -> None:
        """Emit a piece of the arguments, after the name."""
        if not text:
            return
        if self.started:
            self.emit(ToolCallArguments(self.index, text))
        else:
            self._held.append(text)

    def _read_json_call(self, call: JSONCall) -> Reading[None]:
        stream = self.stream
        yield from stream.expect("{")
        keys: set[str] = set()
        while True:
            yield from stream.skip_spaces()
            key = yield from read_json(stream)
            if not isinstance(key, str) or key in keys:
                raise UnparsableCall
            keys.add(key)
            yield from stream.expect(":")
            yield from stream.skip_spaces()
            yield from self._read_field(key, call)
            yield from stream.skip_spaces()
            if not (yield from stream.skip(",")):
                break
        yield from stream.expect("}")
        if self._name is None:
            raise UnparsableCall
        if self._arguments is None:
            self._arguments = {}
            self._write("{}")

    def _read_field(self, key: str, call: JSONCall) -> Reading[None]:
        if key == call.name:
            name = yield from read_json(self.stream)
            if not isinstance(name, str) or not name:
                raise UnparsableCall
            self._start(name)
        elif key in call.arguments and self._arguments is None:
            yield from self._read_json_arguments()
        elif self.bare and key != call.id:
            raise UnparsableCall
        else:
            value = yield from read_json(self.stream)
            if key == call.id and isinstance(value, str) and value and not self.started:
                self._id = value

    def _read_json_arguments(self) -> Reading[None]:
        stream = self.stream
        yield from stream.skip_spaces()
        if (yield from stream.at('"')):  # JSON in a string, as in OpenAI's API
            self._arguments = parse_json((yield from read_json(stream)))
            self._write(dump_json(self._arguments))
        else:
            self._arguments = yield from read_json(stream, self._write)
        if not isinstance(self._arguments, dict):
            raise UnparsableCall

    def _read_named_call(self, call: NamedCall, ends: tuple[str, ...]) -> Reading[None]:
        stream, arguments = self.stream, call.arguments
        yield from stream.expect(call.before_name)
        if call.after_name:
            name = yield from stream.name((*filter(None, (call.before_id,)), call.after_name))
        elif isinstance(arguments, TaggedArguments):
            name = yield from stream.name((arguments.key_begin, *ends))
        else:
            name = yield from stream.name(("{",))
        if (yield from stream.skip(call.before_id)):
            self._id = yield from stream.name((call.after_name,))
        yield from stream.skip(call.after_name)
        if call.name_prefix:
            call_id, name = name, name.removeprefix(call.name_prefix)
            stem, _, number = name.rpartition(":")
            self._start(stem if number.isdigit() else name, call_id)
        else:
            self._start(name)
        if isinstance(arguments, JSONArguments):
            yield from self._read_json_arguments()
        elif isinstance(arguments, BareKeyArguments):
            yield from self._read_bare_key_arguments(arguments)
        else:
            yield from self._read_tagged_arguments(arguments, ends)

    def _read_bare_key_arguments(self, arguments: BareKeyArguments) -> Reading[None]:
        self._arguments = yield from read_bare_key_value(self.stream, arguments.quote)
        self._write(dump_json(self._arguments))

    def _read_tagged_arguments(self, form: TaggedArguments, ends: tuple[str, ...]) -> Reading[None]:
        assert self._name is not None  # noqa: S101 - it precedes the arguments
        stream, values = self.stream, dict[str, Any]()
        properties = self.schemas.get(self._name, {}).get("properties", {})
        self._write("{")
        while True:
            yield from stream.skip_spaces()
            if not (yield from stream.skip(form.key_begin)):
                break
            key = yield from stream.name((form.key_end,))
            yield from stream.expect(form.key_end)
            if form.value_begin:
                yield from stream.expect(form.value_begin)
            self._write(f"{', ' if values else ''}{dump_json(key)}: ")
            schema = properties.get(key) if isinstance(properties, Mapping) else None
            values[key] = yield from self._read_tagged_value(form, schema)
        if not (yield from stream.at_any(ends)):
            raise UnparsableCall
        self._arguments = values
        self._write("}")

    def _read_tagged_value(self, form: TaggedArguments, schema: Any) -> Reading[Any]:
        """Read a value; a string is written while it arrives, other values when their type is known."""
        is_string = {*schema_types(schema)} == {"string"}
        if is_string:
            self._write('"')
        text = yield from read_tagged_text(
            self.stream,
            form.value_end,
            (lambda piece: self._write(dump_json(piece)[1:-1])) if is_string else ignore,
            newlines=form.newlines,
        )
        value = text if is_string else typed_value(text, schema)
        self._write('"' if is_string else dump_json(value))
        return value
