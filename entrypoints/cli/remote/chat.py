"""A conversation with a model of a server: what the chat needs of `litgpt.Chat`."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.cli.remote.answer import AnswerPart, StreamedAnswer
from litgpt.cli.remote.client import ServerClient
from litgpt.cli.remote.errors import ConnectionLost, RequestFailed
from litgpt.cli.remote.models import ServedModels
from litgpt.domain.chat.messages import Message, last_user_message, parse_message
from litgpt.domain.errors import LitGPTError, UnsupportedOperation

if TYPE_CHECKING:
    from litgpt.chat import Said

_DONE = "[DONE]"
_SENT = (
    *("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("reasoning_budget", "seed", "stop", "regex", "grammar", "choices", "tools", "chat_template_kwargs"),
)
_UNKNOWN = "the server's default"


@attrs.define(eq=False)
class RemoteChat:
    """A conversation, whose messages are kept here and sent with each request."""

    client: ServerClient
    models: ServedModels
    settings: Mapping[str, Any]
    messages: list[Message] = attrs.field(factory=list)
    _answer: Iterator[AnswerPart] | None = attrs.field(default=None, init=False)

    def events(self, message: "Said") -> Iterator[AnswerPart]:
        """Send a message and stream the answer, which is added to the messages when the iterator ends.

        An answer that is not read to its end stays in the conversation as far as it was generated. After an
        error, the conversation is as before, so that the message can be sent again.

        Raises:
            ServerUnreachable: The connection failed.
            ConnectionLost: It ended in the middle of the answer.
            RequestFailed: The server refused the request, or failed in the middle of the answer.
        """
        said = Message("user", message) if isinstance(message, str) else parse_message(message, "message")
        self._answer = answer = self._stream([*self.messages, self._with_call_id(said)])
        return answer

    def undo(self) -> Message | None:
        """Remove the last user message and all later ones; return it, or None if there is none."""
        index = last_user_message(self.messages)
        if index is None:
            return None
        removed = self.messages[index]
        self.messages = self.messages[:index]
        return removed

    def count_tokens(self) -> int:
        """Return the number of tokens of the conversation as a prompt.

        Raises:
            UnsupportedOperation: The server does not count tokens.
        """
        if not self.messages:
            return 0
        body = {"model": self.models.name, "messages": self._dicts(self.messages)}
        body |= {name: value for name in _TEMPLATE if (value := self.settings.get(name)) is not None}
        try:
            answer = self.client.post("/tokenize", body)
        except RequestFailed as error:
            if error.status in (404, 405):
                raise UnsupportedOperation("Counting tokens", "this server has no /tokenize.") from error
            raise
        count = answer.get("count") if isinstance(answer, dict) else None
        if not isinstance(count, int):
            raise UnsupportedOperation("Counting tokens", "the server's answer has no count.")
        return count

    @property
    def context(self) -> int:
        """The context length in tokens."""
        if (length := self.models.context) is None:
            raise UnsupportedOperation("Showing the context left", "this server does not tell its length.")
        return length

    @property
    def sampling(self) -> SimpleNamespace:
        """The sampling parameters in effect, as attributes."""
        defaults = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": None}
        names = (*_SENT, "top_k")
        known = {**dict.fromkeys(names, _UNKNOWN), **defaults, **self.models.sampling}
        return SimpleNamespace(
            **known | {name: self.settings[name] for name in names if name in self.settings}
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the conversation to a file, as `Chat.save` does; raises its errors."""
        from litgpt.domain.validators import local_path
        from litgpt.llm_parts.saved_chat import SavedChat, write_chat

        target = local_path("path", path)
        options = self.settings.get("tools"), self.settings.get("chat_template_kwargs")
        write_chat(target, SavedChat(list(self.messages), *options), overwrite=overwrite)
        return target

    def close(self) -> None:
        """End the answer that is being received, if there is one, by closing its connection."""
        close: Callable[[], None] | None = getattr(self._answer, "close", None)
        if close is not None:
            close()

    def _stream(self, messages: list[Message]) -> Iterator[AnswerPart]:
        answer = StreamedAnswer()
        body = request_body(self.settings)
        body |= {"model": self.models.name, "messages": self._dicts(messages)}
        try:
            with self.client.stream("/v1/chat/completions", body) as events:
                for data in events:
                    if data == _DONE:
                        break
                    yield answer.push(data)
                else:
                    raise ConnectionLost("it did not send [DONE]")
            yield answer.end()
        except LitGPTError:
            answer = StreamedAnswer()  # nothing is kept of it
            raise
        finally:
            if (said := answer.message) is not None:
                self.messages = [*messages, said]

    def _with_call_id(self, message: Message) -> Message:
        """Return the result of a tool call with the id of the call, the first one without a result."""
        if message.role != "tool" or "tool_call_id" in message.fields:
            return message
        answered = {it.fields.get("tool_call_id") for it in self.messages if it.role == "tool"}
        calls = [call for it in self.messages for call in it.fields.get("tool_calls") or ()]
        waiting = [call["id"] for call in calls if call.get("id") and call["id"] not in answered]
        fields = {**message.fields, "tool_call_id": waiting[0]} if waiting else message.fields
        return attrs.evolve(message, fields=fields)

    @staticmethod
    def _dicts(messages: list[Message]) -> list[dict[str, Any]]:
        return [message.as_dict() for message in messages]


def request_body(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a streamed chat completion for the settings of a chat."""
    body = {name: value for name in _SENT if (value := settings.get(name)) is not None}
    if "top_k" in settings:
        body["top_k"] = settings["top_k"] or 0  # null would be the model's default
    if (limit := settings.get("max_new_tokens")) is not None:
        body["max_tokens"] = limit
    if (schema := settings.get("schema")) is not None:
        form = {"name": "answer", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    return body | {"stream": True, "stream_options": {"include_usage": True}}


_TEMPLATE = ("tools", "chat_template_kwargs")
