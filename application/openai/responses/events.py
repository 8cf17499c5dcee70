"""The typed events of a response, from the increments of its answer."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from litgpt.application.openai.chunks import token_logprobs
from litgpt.application.openai.logprobs import TokenLogprob, chat_logprobs
from litgpt.application.openai.responses.body import ResponseHeader, Status, response_usage
from litgpt.application.openai.responses.output import CallItem, Event, OutputItem, ReasoningItem, TextItem
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.deltas import (
    Delta,
    ReasoningDelta,
    TextDelta,
    ToolCallArguments,
    ToolCallEnd,
    ToolCallRejected,
    ToolCallStart,
)


@attrs.define
class ResponseEvents:
    """The events of one response; without a stream, the last one has the whole response.

    A call that turns out not to be one ends as `incomplete` and is not part of the final output; its text
    follows.
    """

    header: ResponseHeader
    tokenizer: Tokenizer
    _number: int = attrs.field(default=0, init=False)
    _output: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    _num_items: int = attrs.field(default=0, init=False)
    _open: OutputItem | None = attrs.field(default=None, init=False)
    _logprobs: list[TokenLogprob] = attrs.field(factory=list, init=False)
    _reasoning_tokens: int = attrs.field(default=0, init=False)

    def begin(self) -> Iterator[Event]:
        """Yield the events before the answer."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event({"type": kind, "response": self.header.body("in_progress")})

    def add(self, chunks: Sequence[CompletionChunk]) -> Iterator[Event]:
        """Yield the events of consecutive chunks."""
        for chunk in chunks:
            self._reasoning_tokens += any(isinstance(it, ReasoningDelta) for it in chunk.deltas)
            if all(isinstance(it, TextDelta) for it in chunk.deltas):
                self._logprobs += token_logprobs([chunk])
            else:  # with those of the marks before it, which are not part of a text
                self._logprobs.clear()
            for delta in chunk.deltas:
                yield from map(self._event, self._add(delta))

    def end(self, completion: Completion, **fields: Any) -> Iterator[Event]:
        """Yield the events after the answer; `fields` are further fields of the response."""
        is_cut = completion.finish_reason == "length"
        status: Status = "incomplete" if is_cut else "completed"
        if not self._num_items:
            yield from map(self._event, self._begin(TextItem()))
        yield from map(self._event, self._end("incomplete" if is_cut else "completed"))
        details = {"reason": "max_output_tokens"} if is_cut else None
        usage = response_usage(completion, self._reasoning_tokens)
        if not is_cut:
            fields = {"completed_at": float(int(time.time())), **fields}
        body = self.header.body(status, self._output, incomplete_details=details, usage=usage, **fields)
        yield self._event({"type": f"response.{status}", "response": body})

    def fail(self, error: Mapping[str, Any]) -> Event:
        """Return the event of a response that could not be computed."""
        body = self.header.body("failed", self._output, error=dict(error))
        return self._event({"type": "response.failed", "response": body})

    def _event(self, event: Event) -> Event:
        numbered = {**event, "sequence_number": self._number}
        self._number += 1
        return numbered

    def _add(self, delta: Delta) -> Iterator[Event]:
        if isinstance(delta, TextDelta):
            if not isinstance(self._open, TextItem):
                yield from self._begin(TextItem())
            assert isinstance(self._open, TextItem)  # noqa: S101 - it has just begun
            tokens, self._logprobs = self._logprobs, []
            logprobs = chat_logprobs(tokens, self.tokenizer)["content"]
            yield self._at_open(self._open.push(delta.text, logprobs))
        elif isinstance(delta, ReasoningDelta):
            if not isinstance(self._open, ReasoningItem):
                yield from self._begin(ReasoningItem())
            assert isinstance(self._open, ReasoningItem)  # noqa: S101 - it has just begun
            yield self._at_open(self._open.push(delta.text))
        elif isinstance(delta, ToolCallStart):
            yield from self._begin(CallItem(delta))
        elif isinstance(self._open, CallItem):
            yield from self._add_to_call(self._open, delta)

    def _add_to_call(self, call: CallItem, delta: Delta) -> Iterator[Event]:
        if isinstance(delta, ToolCallArguments) and delta.text:
            yield self._at_open(call.push(delta.text))
        elif isinstance(delta, ToolCallEnd):
            yield from self._end("completed")
        elif isinstance(delta, ToolCallRejected):
            call.is_rejected = True
            yield from self._end("incomplete")

    def _begin(self, item: OutputItem) -> Iterator[Event]:
        yield from self._end("completed")
        self._open = item
        self._num_items += 1
        yield self._at_open({"type": "response.output_item.added", "item": item.body("in_progress")})
        yield from map(self._at_open, item.begin())

    def _end(self, status: str) -> Iterator[Event]:
        item = self._open
        if item is None:
            return
        yield from map(self._at_open, item.end(status))
        body = item.body(status)
        yield self._at_open({"type": "response.output_item.done", "item": body})
        if not (isinstance(item, CallItem) and item.is_rejected):
            self._output.append(body)
        self._open = None

    def _at_open(self, event: Event) -> Event:
        return {**event, "output_index": self._num_items - 1}
