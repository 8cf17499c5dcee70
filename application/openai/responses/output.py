"""The items of a response's output, as they are generated, with the events of each step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

import attrs

from litgpt.domain.tool_calls.deltas import ToolCallStart

Event = dict[str, Any]
ItemStatus = str


class OutputItem(Protocol):
    """An item that is being generated; `at` are the fields that name it in events."""

    def begin(self) -> Iterator[Event]:
        """Yield its first events, after `response.output_item.added`."""
        ...

    def end(self, status: ItemStatus) -> Iterator[Event]:
        """Yield its last events, before `response.output_item.done`."""
        ...

    def body(self, status: ItemStatus) -> dict[str, Any]:
        """Return the item."""
        ...


@attrs.define
class TextItem:
    """A message of the assistant, which consists of one text."""

    id: str = attrs.field(factory=lambda: f"msg_{uuid4().hex}")
    text: str = ""
    logprobs: list[dict[str, Any]] = attrs.field(factory=list)

    def begin(self) -> Iterator[Event]:
        yield {"type": "response.content_part.added", **self._at, "part": self._part()}

    def push(self, text: str, logprobs: Sequence[dict[str, Any]]) -> Event:
        """Add text with the log-probabilities of its tokens."""
        self.text += text
        self.logprobs += logprobs
        short = list(map(_without_bytes, logprobs))
        return {"type": "response.output_text.delta", **self._at, "delta": text, "logprobs": short}

    def end(self, status: ItemStatus) -> Iterator[Event]:  # noqa: ARG002 - of all items
        short = list(map(_without_bytes, self.logprobs))
        yield {"type": "response.output_text.done", **self._at, "text": self.text, "logprobs": short}
        yield {"type": "response.content_part.done", **self._at, "part": self._part()}

    def body(self, status: ItemStatus) -> dict[str, Any]:
        content = [] if status == "in_progress" else [self._part()]
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": self.id, "content_index": 0}

    def _part(self) -> dict[str, Any]:
        return {
            "type": "output_text",
            "text": self.text,
            "annotations": [],
            "logprobs": list(self.logprobs),
        }


@attrs.define
class ReasoningItem:
    """The reasoning before an answer, as text."""

    id: str = attrs.field(factory=lambda: f"rs_{uuid4().hex}")
    text: str = ""

    def begin(self) -> Iterator[Event]:
        yield {"type": "response.content_part.added", **self._at, "part": self._part()}

    def push(self, text: str) -> Event:
        """Add text."""
        self.text += text
        return {"type": "response.reasoning_text.delta", **self._at, "delta": text}

    def end(self, status: ItemStatus) -> Iterator[Event]:  # noqa: ARG002 - of all items
        yield {"type": "response.reasoning_text.done", **self._at, "text": self.text}
        yield {"type": "response.content_part.done", **self._at, "part": self._part()}

    def body(self, status: ItemStatus) -> dict[str, Any]:
        content = [] if status == "in_progress" else [self._part()]
        return {"id": self.id, "type": "reasoning", "status": status, "summary": [], "content": content}

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": self.id, "content_index": 0}

    def _part(self) -> dict[str, Any]:
        return {"type": "reasoning_text", "text": self.text}


@attrs.define
class CallItem:
    """A call of a function."""

    start: ToolCallStart
    id: str = attrs.field(factory=lambda: f"fc_{uuid4().hex}")
    arguments: str = ""
    is_rejected: bool = False

    def begin(self) -> Iterator[Event]:
        yield from ()

    def push(self, arguments: str) -> Event:
        """Add a piece of the arguments."""
        self.arguments += arguments
        return {"type": "response.function_call_arguments.delta", "item_id": self.id, "delta": arguments}

    def end(self, status: ItemStatus) -> Iterator[Event]:
        if status == "completed":
            name = "response.function_call_arguments.done"
            yield {"type": name, "item_id": self.id, "arguments": self.arguments}

    def body(self, status: ItemStatus) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self.start.id,
            "name": self.start.name,
            "arguments": self.arguments,
        }


def _without_bytes(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a log-probability as events have it, without the bytes that items have."""
    top = [{"token": it["token"], "logprob": it["logprob"]} for it in entry["top_logprobs"]]
    return {"token": entry["token"], "logprob": entry["logprob"], "top_logprobs": top}
