"""`AnswerParser`: splits the text of an answer into visible text, reasoning and tool calls as it arrives."""

import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import attrs

from litgpt.domain.tool_calls.call_reader import CallReader
from litgpt.domain.tool_calls.deltas import Delta, ReasoningDelta, TextDelta
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, JSONCall, ToolCallFormat
from litgpt.domain.tool_calls.text_stream import Reading, TextStream, UnparsableCall
from litgpt.domain.tool_calls.visible_text import TextBlocks

_LONGEST_HEADER = 400


def _numbered_ids() -> Callable[[], str]:
    numbers = count()
    return lambda: f"call_{next(numbers)}"


@attrs.define
class AnswerParser:
    """Parses an answer in chunks of any length.

    The sum of the deltas, `ParsedAnswer.from_deltas`, does not depend on the chunks. What looks like a call
    and cannot be parsed is visible text; no text raises an error.

        parser = AnswerParser(AnswerFormat(HERMES))
        deltas = [*parser.push("<tool_call>…"), *parser.finish()]

    Attributes:
        format: The formats of tool calls and reasoning.
        schemas: The JSON schemas of the arguments of each tool, by the tool's name. They decide whether an
            argument in a format without quotes is a string.
        new_id: Returns the id of a call in whose format there is none.
        in_reasoning: Whether the prompt ends within reasoning.
    """

    format: AnswerFormat
    schemas: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    new_id: Callable[[], str] = attrs.field(factory=_numbered_ids)
    in_reasoning: bool = False
    _stream: TextStream = attrs.field(factory=TextStream, init=False)
    _deltas: list[Delta] = attrs.field(factory=list, init=False)
    _text: TextBlocks = attrs.field(init=False)
    _reasoning: TextBlocks = attrs.field(init=False)
    _coroutine: Reading[None] | None = attrs.field(init=False)
    _calls: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._text = TextBlocks(lambda text: self._deltas.append(TextDelta(text)))
        self._reasoning = TextBlocks(lambda text: self._deltas.append(ReasoningDelta(text)), after_mark=True)
        calls = self.format.tool_calls
        self._coroutine = self._read_messages(calls) if isinstance(calls, ChannelFormat) else self._read()

    def push(self, text: str) -> list[Delta]:
        """Return the deltas that `text` completes."""
        self._stream.feed(text)
        return self._advance()

    def finish(self) -> list[Delta]:
        """Return the remaining deltas at the end of the answer."""
        self._stream.ended = True
        return self._advance()

    def _advance(self) -> list[Delta]:
        if self._coroutine is not None:
            try:
                next(self._coroutine)
            except StopIteration:
                self._coroutine = None
                self._text.finish()
        deltas, self._deltas = self._deltas, []
        return deltas

    def _read(self) -> Reading[None]:
        stream, calls, reasoning = self._stream, self.format.tool_calls, self.format.reasoning
        assert not isinstance(calls, ChannelFormat)  # noqa: S101 - has a loop of its own
        if self.in_reasoning and reasoning is not None:
            yield from self._read_reasoning(reasoning.end)
        begins = (calls.begin,) if calls is not None and calls.begin else ()
        # White space, and marks of what may only precede the text: reasoning, and calls without a mark.
        first = (*begins, *((reasoning.begin,) if reasoning else ()), *(_bare_begin(calls)))
        before_text = True
        while not (yield from stream.at_end()):
            if before_text:
                yield from self._read_spaces()
            if calls is not None and (yield from stream.at_any(begins)):
                before_text = yield from self._read_calls(calls, calls.begin)
            elif before_text and reasoning is not None and (yield from stream.skip(reasoning.begin)):
                yield from self._read_reasoning(reasoning.end)
            elif before_text and calls is not None and (yield from stream.at_any(_bare_begin(calls))):
                before_text = yield from self._read_calls(calls, "")
            else:
                piece = yield from stream.piece(first if before_text else begins)
                before_text = before_text and not piece
                self._text.add(piece)

    def _read_spaces(self) -> Reading[None]:
        """Read white space before the text."""
        stream = self._stream
        stream.start_record()
        yield from stream.skip_spaces()
        self._text.add(stream.record)

    def _read_reasoning(self, *ends: str) -> Reading[None]:
        """Read reasoning and the mark that ends it, if it has an end."""
        self._reasoning.mark("\n\n")
        while piece := (yield from self._stream.piece(ends)):
            self._reasoning.add(piece)
        for end in ends:
            if (yield from self._stream.skip(end)):
                break
        self._text.mark()

    def _read_calls(self, form: ToolCallFormat, begin: str) -> Reading[bool]:
        """Read calls and the marks around them; return whether the last one could be parsed."""
        stream = self._stream
        stream.start_record()
        stream.take(len(begin))
        opening = form.opening
        while True:
            call = self._call_reader(bare=not begin)
            try:
                yield from stream.expect(opening)
                yield from call.read(form)
                ended = yield from self._read_call_end(form)
            except UnparsableCall:
                self._reject(call)
                return False
            self._complete(call)
            opening = ""
            if ended:
                return True
            stream.start_record()

    def _read_call_end(self, form: ToolCallFormat) -> Reading[bool]:
        """Read what follows a call; return whether it was the last one.

        At the end of the answer, marks may be missing or cut off: they may be stop tokens.
        """
        stream = self._stream
        if form.call_end or form.end or form.separator:
            yield from stream.skip_spaces()
        if (yield from stream.at_end()):
            return True
        if form.call_end and not (yield from stream.skip(form.call_end, may_be_cut=True)):
            raise UnparsableCall
        if not (form.end or form.separator):
            return True
        yield from stream.skip_spaces()
        if (yield from stream.skip(form.end, may_be_cut=True)) or (yield from stream.at_end()):
            return True
        if (yield from stream.skip(form.separator)):
            return False
        before = "{" if isinstance(form.call, JSONCall) else form.call.before_name
        if not form.separator and (yield from stream.at(before)):
            return False
        if form.call_end or not form.end:
            return True  # the call itself is complete
        raise UnparsableCall

    def _read_messages(self, form: ChannelFormat) -> Reading[None]:
        """Read messages with headers; the header of the first has begun in the prompt."""
        stream, marks = self._stream, (*form.ends, form.start, form.channel)
        if self.in_reasoning:
            yield from self._read_reasoning(*form.ends)
        while not (yield from stream.at_end()):
            stream.start_record()
            yield from stream.skip_spaces()
            if not (yield from stream.at_any((form.start, form.channel, form.recipient))):
                self._text.add(stream.record)
                yield from self._read_text(marks)
                continue
            call = self._call_reader()
            try:
                channel = yield from self._read_message_start(form, call)
            except UnparsableCall:
                self._reject(call)
                yield from self._read_text(marks)
                continue
            if call.started:
                self._complete(call)
            elif channel in form.reasoning:
                yield from self._read_reasoning(*form.ends)
            else:
                self._text.mark("\n\n")
                yield from self._read_text(marks)

    def _read_message_start(self, form: ChannelFormat, call: CallReader) -> Reading[str]:
        """Read a header and return the channel; of a tool call, read all of it."""
        stream = self._stream
        header = yield from self._read_header(form)
        if tool := re.search(re.escape(form.recipient) + r"([\w.\-]+)", header):
            yield from call.read_arguments(tool[1])
            yield from stream.skip_spaces()
            if not ((yield from self._skip_any(form.ends)) or (yield from stream.at_end())):
                raise UnparsableCall
        return next(iter(header.partition(form.channel)[2].split()), "")

    def _read_header(self, form: ChannelFormat) -> Reading[str]:
        stream, header = self._stream, ""
        while not (yield from stream.skip(form.message)):
            if len(header) == _LONGEST_HEADER or not (yield from stream.need(1)):
                raise UnparsableCall
            header += stream.take(1)
        return header

    def _read_text(self, marks: tuple[str, ...]) -> Reading[None]:
        """Read the text of a message and the mark that ends it."""
        while piece := (yield from self._stream.piece(marks)):
            self._text.add(piece)
        yield from self._skip_any(marks[:-2])

    def _skip_any(self, marks: tuple[str, ...]) -> Reading[bool]:
        for mark in marks:
            if (yield from self._stream.skip(mark, may_be_cut=True)):
                return True
        return False

    def _call_reader(self, *, bare: bool = False) -> CallReader:
        return CallReader(self._stream, self._calls, self.schemas, self._emit, self.new_id, bare=bare)

    def _emit(self, delta: Delta) -> None:
        self._deltas.append(delta)

    def _complete(self, call: CallReader) -> None:
        call.complete()
        self._calls += 1
        self._text.mark()

    def _reject(self, call: CallReader) -> None:
        """Make the text of a call visible, up to where it turned out to be none."""
        call.reject()
        self._calls += call.started
        self._text.add(self._stream.record)


def _bare_begin(form: ToolCallFormat | None) -> tuple[str, ...]:
    return ("{",) if form is not None and form.bare else ()
