"""`llm.chat()`: a conversation that remembers."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, Unpack, overload

import attrs

from litgpt.answers import Part, pieces, whole
from litgpt.application.atomic_files import atomic_write
from litgpt.application.chatting import Conversation, Turn
from litgpt.domain.calls import public
from litgpt.domain.chat import Message, messages
from litgpt.domain.errors import DamagedFile, LitGPTError, OutOfReach
from litgpt.domain.generation import Completion, TextEvent
from litgpt.domain.messages import brief_repr, summary
from litgpt.domain.paths import local_path
from litgpt.domain.reading import cause, parse_json, printable, reading
from litgpt.domain.sampling import Sampling
from litgpt.domain.template_options import TemplateOptions
from litgpt.generate_options import SHARED, Answering, Drawing, Options

_REMEDY = """Pass a file that Chat.save wrote, or a JSON list such as [{"role": "user", "content": "Hi"}]."""

Said: TypeAlias = str | Message | Mapping[str, Any] | Sequence[Message] | Sequence[Mapping[str, Any]]
"""What is sent: a user's text, a message such as `{"role": "tool", "content": "22"}`, or several messages."""


class _Default(Enum):
    CHAT_DEFAULT = "chat default"

    def __repr__(self) -> str:
        return self.name


CHAT_DEFAULT: Final = _Default.CHAT_DEFAULT
"""The value of an option that is left out for one answer: what `LLM.chat` was given, or its default."""
_SHARED = attrs.evolve(SHARED, defaults=dict.fromkeys(SHARED.defaults, CHAT_DEFAULT))


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
    Messages of other roles are sent as dicts: `chat.send({"role": "tool", "content": "22"})`. The options of
    `send` are those of `LLM.generate`, for one answer; those that are left out are the chat's.
    """

    _conversation: Conversation
    _turn: Callable[[Mapping[str, Any]], Turn]

    def __repr__(self) -> str:
        said = self.messages
        return summary("Chat", messages=len(said), **({"last": said[-1]} if said else {}))

    @property
    def messages(self) -> list[Message]:
        """What was said so far, by whom."""
        return list(self._conversation.messages)

    @overload
    def send(
        self,
        message: Said,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[False] = ...,
        **options: Unpack[Options],
    ) -> str: ...
    @overload
    def send(
        self,
        message: Said,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[True],
        **options: Unpack[Options],
    ) -> Iterator[str]: ...
    @overload
    def send(
        self,
        message: Said,
        *,
        return_as_token_ids: bool = ...,
        stream: bool = ...,
        logprobs: bool = ...,
        **options: Unpack[Options],
    ) -> Any: ...
    @public(_SHARED)
    def send(
        self,
        message: Said,
        *,
        sys_prompt: str | None = None,
        return_as_token_ids: bool = False,
        stream: bool = False,
        logprobs: bool = False,
        **options: Unpack[Drawing],
    ) -> "Part | Completion | Iterator[Part | TextEvent]":
        """Say something and return the answer.

        Args:
            message: A text of the user's, a message of any role, or several messages.
            sys_prompt: The system message of a conversation that has none yet.
            return_as_token_ids: Return ids, (T,), the end token included, and not text.
            stream: Return an iterator over pieces as they come: whole characters.
            logprobs: Return what `complete` returns, which has room for the log-probabilities.

        Returns:
            The text; ids, a completion or an iterator if asked for.

        Raises:
            BadArgument: An argument cannot be right, or the message is empty.
            BadPrompt: The prompt style cannot express the conversation.
            PromptTooLong: The conversation leaves no room for an answer.

        """
        events = self._say(message, sys_prompt, {**options, "logprobs": logprobs})
        if stream:
            return events if logprobs else pieces(events, several=False, ids=return_as_token_ids)
        completion = _last(events)
        return completion if logprobs else whole(completion, ids=return_as_token_ids)

    @public(_SHARED)
    def stream(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[Drawing]
    ) -> Iterator[str]:
        """Say something and return the answer in pieces, as they come; it raises what `send` raises.

        Args:
            message: A text of the user's, a message of any role, or several messages.
            sys_prompt: The system message of a conversation that has none yet.

        """
        return pieces(self._say(message, sys_prompt, options), several=False, ids=False)

    @public(_SHARED)
    def events(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[Answering]
    ) -> Iterator[TextEvent]:
        """Say something and return an event for each token, the last with the completion.

        Args:
            message: A text of the user's, a message of any role, or several messages.
            sys_prompt: The system message of a conversation that has none yet.

        It raises what `send` raises.

        """
        return self._say(message, sys_prompt, options)

    @public(_SHARED)
    def complete(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[Answering]
    ) -> Completion:
        """Say something and return the answer with its ids, counts and why it ended.

        Args:
            message: A text of the user's, a message of any role, or several messages.
            sys_prompt: The system message of a conversation that has none yet.

        It raises what `send` raises.

        """
        return _last(self._say(message, sys_prompt, options))

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
        return self._turn({}).request([0]).sampling

    def branch(self) -> "Chat":
        """Return a chat that begins as this one and goes its own way."""
        return attrs.evolve(self, conversation=self._conversation.branch())

    @public()
    def save(self, path: str | Path) -> None:
        """Write what was said, and the chat's tools, to a JSON file, whole or not at all.

        Args:
            path: The file.

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

    def _say(self, message: Said, sys_prompt: str | None, options: Mapping[str, Any]) -> Iterator[TextEvent]:
        given = {name: value for name, value in options.items() if value is not CHAT_DEFAULT}
        return self._conversation.say(message, self._turn(given), sys_prompt=sys_prompt)


def _last(events: Iterator[TextEvent]) -> Completion:
    *_, last = events
    assert last.completion is not None  # noqa: S101 - the last event always has it
    return last.completion


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
