"""`llm.chat()`: a conversation that remembers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias, Unpack, overload

import attrs

from litgpt.application.chat import Conversation, TurnOptions
from litgpt.domain.chat.messages import Message
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path
from litgpt.llm_parts.answer_format import AnswerChunk, format_answer, format_chunks
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS, ChatKwargs, GenerateKwargs, SamplingKwargs
from litgpt.llm_parts.saved_chat import SavedChat, read_chat, write_chat

__all__ = ["CHAT_DEFAULT", "Chat", "Said", "SavedChat", "read_chat"]

Said: TypeAlias = str | Message | Mapping[str, Any] | Sequence[Message] | Sequence[Mapping[str, Any]]
"""What is sent: a user's text, a message such as `{"role": "tool", "content": "22"}`, or several messages."""


class _Default(Enum):
    CHAT_DEFAULT = "chat default"

    def __repr__(self) -> str:
        return self.name


CHAT_DEFAULT: Final = _Default.CHAT_DEFAULT
"""The value of an option that is left out for one answer: what `LLM.chat` was given, or its default."""
_SHARED = attrs.evolve(SHARED_OPTIONS, defaults=dict.fromkeys(SHARED_OPTIONS.defaults, CHAT_DEFAULT))


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
    _make_turn: Callable[[Mapping[str, Any]], TurnOptions]
    _saved_to: set[Path] = attrs.field(factory=set, init=False)

    def __repr__(self) -> str:
        said = self.messages
        return summary_repr("Chat", messages=len(said), **({"last": said[-1]} if said else {}))

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
        **options: Unpack[GenerateKwargs],
    ) -> str: ...
    @overload
    def send(
        self,
        message: Said,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[True],
        **options: Unpack[GenerateKwargs],
    ) -> Iterator[str]: ...
    @overload
    def send(
        self,
        message: Said,
        *,
        return_as_token_ids: bool = ...,
        stream: bool = ...,
        logprobs: bool = ...,
        **options: Unpack[GenerateKwargs],
    ) -> Any: ...
    @public_function(_SHARED)
    def send(
        self,
        message: Said,
        *,
        sys_prompt: str | None = None,
        return_as_token_ids: bool = False,
        stream: bool = False,
        logprobs: bool = False,
        **options: Unpack[SamplingKwargs],
    ) -> "AnswerChunk | Completion | Iterator[AnswerChunk | CompletionChunk]":
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
            InvalidArgument: An argument cannot be right, or the message is empty.
            UnsupportedPrompt: The prompt style cannot express the conversation.
            PromptTooLong: The conversation leaves no room for an answer.

        """
        events = self._send(message, sys_prompt, {**options, "logprobs": logprobs})
        if stream:
            return (
                events
                if logprobs
                else format_chunks(events, is_batch=False, as_token_ids=return_as_token_ids)
            )
        completion = _final_completion(events)
        return completion if logprobs else format_answer(completion, as_token_ids=return_as_token_ids)

    @public_function(_SHARED)
    def stream(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[SamplingKwargs]
    ) -> Iterator[str]:
        """Say something and return the answer in pieces, as they come; it raises what `send` raises.

        Args:
            message: A text of the user's, a message of any role, or several messages.
            sys_prompt: The system message of a conversation that has none yet.

        """
        return format_chunks(self._send(message, sys_prompt, options), is_batch=False, as_token_ids=False)

    @public_function(_SHARED)
    def events(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[ChatKwargs]
    ) -> Iterator[CompletionChunk]:
        """Say something and return an event for each token, the last with the completion.

        Args:
            message: A text of the user's, a message of any role, or several messages.
            sys_prompt: The system message of a conversation that has none yet.

        It raises what `send` raises.

        """
        return self._send(message, sys_prompt, options)

    @public_function(_SHARED)
    def complete(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[ChatKwargs]
    ) -> Completion:
        """Say something and return the answer with its ids, counts and why it ended.

        Args:
            message: A text of the user's, a message of any role, or several messages.
            sys_prompt: The system message of a conversation that has none yet.

        It raises what `send` raises.

        """
        return _final_completion(self._send(message, sys_prompt, options))

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
    def sampling(self) -> SamplingParams:
        """How answers are drawn, with the model's defaults where no setting was given."""
        return self._make_turn({}).request([0]).sampling_params

    def branch(self) -> "Chat":
        """Return a chat that begins as this one and goes its own way."""
        return attrs.evolve(self, conversation=self._conversation.fork())

    @public_function()
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write what was said, and the chat's tools, to a JSON file, whole or not at all, and return that.

        Args:
            path: The file.
            overwrite: Whether to replace another conversation, or a file of another kind. A beginning of this
                conversation, and what this chat saved itself, is replaced in any case.

        Raises:
            InvalidArgument: No file can have this name.
            WouldOverwrite: The file holds something else, and `overwrite` is not set.
            UnsupportedOperation: It cannot be written there: no such folder, a full disk, a device or a FIFO.

        """
        target, options = local_path("path", path), self._conversation.renderer.options
        tools = None if options.tools is None else list(options.tools)
        saved = SavedChat(self.messages, tools, dict(options.variables) or None)
        write_chat(target, saved, overwrite=overwrite or target in self._saved_to)
        self._saved_to.add(target)
        return target

    def close(self) -> None:
        """Free the memory of what was computed; what was said is kept."""
        self._conversation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self, message: Said, sys_prompt: str | None, options: Mapping[str, Any]
    ) -> Iterator[CompletionChunk]:
        given = {name: value for name, value in options.items() if value is not CHAT_DEFAULT}
        return self._conversation.send(message, self._make_turn(given), sys_prompt=sys_prompt)


def _final_completion(events: Iterator[CompletionChunk]) -> Completion:
    *_, last = events
    assert last.completion is not None  # noqa: S101 - the last event always has it
    return last.completion
