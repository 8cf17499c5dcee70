"""`llm.chat()`: a conversation that remembers."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, TypedDict, Unpack

import attrs

from litgpt.application.atomic_files import atomic_write
from litgpt.application.chatting import Conversation
from litgpt.domain.chat import Message, messages
from litgpt.domain.errors import DamagedFile, LitGPTError, OutOfReach
from litgpt.domain.generation import Completion, Request, TextEvent
from litgpt.domain.messages import brief_repr, summary
from litgpt.domain.paths import local_path
from litgpt.domain.reading import cause, parse_json, printable, reading
from litgpt.domain.sampling import Sampling
from litgpt.domain.template_options import TemplateOptions
from litgpt.tracebacks import short_traceback

_REMEDY = """Pass a file that Chat.save wrote, or a JSON list such as [{"role": "user", "content": "Hi"}]."""

Said: TypeAlias = str | Message | Mapping[str, Any] | Sequence[Message] | Sequence[Mapping[str, Any]]
"""What is sent: a user's text, a message such as `{"role": "tool", "content": "22"}`, or several messages."""


class TurnOptions(TypedDict, total=False):
    """What the chat template is given for one answer, in place of what the chat was begun with."""

    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None
    chat_template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool | str


@attrs.frozen
class SavedChat:
    """A conversation in a file.

    Attributes:
        messages: What was said, by whom.
        tools: JSON schemas of the tools that the model may call.
        chat_template_kwargs: Further variables of the chat template.

    """

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    __repr__ = brief_repr


@attrs.define(eq=False)
class Chat:
    """A conversation with a model.

        with llm.chat() as chat:
            print(chat.send("My name is Ada."))
            print(chat.send("What is my name?"))

    What was said is not computed again. An answer that is abandoned is remembered as far as it came.
    Messages of other roles are sent as dicts: `chat.send({"role": "tool", "content": "22"})`. `tools`,
    `chat_template_kwargs` and `continue_final_message` are those of `LLM.generate`, for one answer.
    """

    _conversation: Conversation
    _request: Callable[[list[int]], Request]
    _stop: tuple[str, ...]

    def __repr__(self) -> str:
        said = self.messages
        return summary("Chat", messages=len(said), **({"last": said[-1]} if said else {}))

    @property
    def messages(self) -> list[Message]:
        """What was said so far, by whom."""
        return list(self._conversation.messages)

    @short_traceback
    def send(self, message: Said, **options: Unpack[TurnOptions]) -> str:
        """Say something and return the answer."""
        return self.complete(message, **options).text

    @short_traceback
    def stream(self, message: Said, **options: Unpack[TurnOptions]) -> Iterator[str]:
        """Say something and return the answer in pieces, as they come."""
        return (event.text for event in self.events(message, **options) if event.text)

    @short_traceback
    def events(self, message: Said, **options: Unpack[TurnOptions]) -> Iterator[TextEvent]:
        """Say something and return an event for each token, the last with the completion."""
        return self._say(message, options)

    def undo(self) -> Message | None:
        """Forget the last user message and everything after it, and return it; None if there is none."""
        return self._conversation.undo()

    def count_tokens(self) -> int:
        """Return the number of tokens of the conversation so far, as a prompt."""
        return self._conversation.count_tokens()

    @property
    def context(self) -> int:
        """How many tokens a conversation can have."""
        return self._conversation.generate.generator.context

    @property
    def sampling(self) -> Sampling:
        """How answers are drawn, with the model's defaults where no setting was given."""
        return self._request([0]).sampling

    @short_traceback
    def complete(self, message: Said, **options: Unpack[TurnOptions]) -> Completion:
        """Say something and return the answer with its ids, counts and why it ended."""
        *_, last = self._say(message, options)
        assert last.completion is not None  # noqa: S101 - the last event always has it
        return last.completion

    def branch(self) -> "Chat":
        """Return a chat that begins as this one and goes its own way."""
        return attrs.evolve(self, conversation=self._conversation.branch())

    def save(self, path: str | Path) -> None:
        """Write what was said, and the chat's tools, to a JSON file, whole or not at all.

        Raises:
            BadArgument: No file can have this name.
            OutOfReach: It cannot be written there: no such folder, a full disk, a device or a FIFO.

        """
        options = self._conversation.write.options
        saved: dict[str, Any] = {"messages": [one.as_dict() for one in self._conversation.messages]}
        if options.tools is not None:
            saved["tools"] = list(options.tools)
        if options.variables:
            saved["chat_template_kwargs"] = dict(options.variables)
        target = local_path("path", path)
        try:
            atomic_write(target, json.dumps(saved, ensure_ascii=False, indent=1).encode())
        except (OSError, ValueError) as error:  # the latter for text that UTF-8 cannot encode
            raise _unwritable(target, error) from error

    def close(self) -> None:
        """Free the memory of what was computed; what was said is kept."""
        self._conversation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _say(self, message: Said, given: TurnOptions) -> Iterator[TextEvent]:
        options = None
        if given:
            names = {"chat_template_kwargs": "variables"}
            changes: dict[str, Any] = {names.get(name, name): value for name, value in given.items()}
            options = attrs.evolve(self._conversation.write.options, **changes)
        return self._conversation.say(message, self._request, stop=self._stop, options=options)


def _unwritable(path: Path, error: Exception) -> OutOfReach:
    return OutOfReach(f"Saving the chat to {printable(path)}", f"{cause(error)}. Choose another path.")


def read_chat(path: str | Path) -> SavedChat:
    """Return what `Chat.save` wrote, or what a JSON list of messages holds.

    Raises:
        BadArgument: No file can have this name.
        MissingFile: There is no such file.
        DamagedFile: It is not a saved chat.

    """
    damaged = partial(DamagedFile, remedy=_REMEDY)
    path = local_path("path", path)
    with reading(path, missing=_REMEDY, damaged=damaged):
        raw = path.read_bytes()
    with reading(str(path), reason="it is not JSON", damaged=damaged):
        saved = parse_json(raw)
    try:
        if isinstance(saved, list):
            saved = {"messages": saved}
        said = list(messages(saved["messages"])) if saved["messages"] else []
        options = TemplateOptions(tools=saved.get("tools"), variables=saved.get("chat_template_kwargs"))
        return SavedChat(said, saved.get("tools"), dict(options.variables) or None)
    except LitGPTError as error:
        raise DamagedFile(str(path), f"it is not a saved chat: {error}", _REMEDY) from error
    except Exception as error:
        raise DamagedFile(str(path), "it is not a saved chat or a list of messages.", _REMEDY) from error
