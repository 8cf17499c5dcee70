"""`Chat`: a conversation, created by `LLM.chat`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias, Unpack, overload

import attrs

from litgpt.application.chat import Conversation, TurnOptions
from litgpt.domain.chat.messages import Message
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path
from litgpt.llm_parts.answer_format import format_answer, format_chunks
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS, ChatKwargs, GenerateKwargs, SamplingKwargs
from litgpt.llm_parts.saved_chat import SavedChat, read_chat, write_chat

__all__ = ["CHAT_DEFAULT", "Chat", "Said", "SavedChat", "read_chat"]

Said: TypeAlias = str | Message | Mapping[str, Any] | Sequence[Message] | Sequence[Mapping[str, Any]]
"""The text of a user message, a message such as `{"role": "tool", "content": "22"}`, or several messages."""


class _Default(Enum):
    CHAT_DEFAULT = "chat default"

    def __repr__(self) -> str:
        return self.name


CHAT_DEFAULT: Final = _Default.CHAT_DEFAULT
"""Default of the options of one answer: the value passed to `LLM.chat`, or the default of `LLM.chat`."""
_SHARED = attrs.evolve(SHARED_OPTIONS, defaults=dict.fromkeys(SHARED_OPTIONS.defaults, CHAT_DEFAULT))


@attrs.define(eq=False)
class Chat:
    """A conversation with a model.

        with llm.chat() as chat:
            print(chat.send("My name is Ada."))
            print(chat.send("What is my name?"))

    The KV cache of earlier messages is reused. If an answer is not read to its end, the generated part stays
    in the conversation. Messages of other roles are sent as dicts:
    `chat.send({"role": "tool", "content": "22"})`. `send` takes the options of `LLM.generate`, for one
    answer; their defaults are the options of the chat.

    Python functions among `tools` are called when the model calls them, and their results are sent to it,
    until it answers. A call with arguments that do not match the type hints is not run; the model gets an
    error message, as it does if the function raises. Calls of tools that are JSON schemas are not run: they
    are `tool_calls` of the completion and of the last message.
    """

    _conversation: Conversation
    _make_turn: Callable[[Mapping[str, Any]], TurnOptions]
    _saved_to: set[Path] = attrs.field(factory=set, init=False)

    def __repr__(self) -> str:
        messages = self.messages
        last = {"last": messages[-1]} if messages else {}
        return summary_repr("Chat", messages=len(messages), **last)

    @property
    def messages(self) -> list[Message]:
        """A copy of the messages so far."""
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
        top_logprobs: int = ...,
        prompt_logprobs: int | None = ...,
        schema: Any = ...,
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
        top_logprobs: int = 0,
        prompt_logprobs: int | None = None,
        schema: Any = CHAT_DEFAULT,
        **options: Unpack[SamplingKwargs],
    ) -> Any:
        """Send a message and return the answer.

        Args:
            message: The text of a user message, a message of any role, or several messages.
            sys_prompt: The system message, if the conversation does not have one yet.
            return_as_token_ids: Return token ids, (T,), including the end token, instead of text.
            stream: Return an iterator of text chunks, each of complete characters.
            logprobs: Return a completion that includes the log-probability of each token.
            top_logprobs: Return a completion that also includes the log-probabilities of this many likeliest
                tokens for each token.
            prompt_logprobs: Return a completion that also includes the log-probabilities of the tokens of the
                conversation, and of this many likeliest tokens at their places; None: neither.
            schema: Return a JSON value or an object, as `LLM.generate` does.

        Returns:
            The text; or token ids, a completion or an iterator, as requested by the arguments.

        Raises:
            InvalidArgument: An argument is not valid, or the message is empty.
            UnsupportedPrompt: The prompt style does not support the messages.
            PromptTooLong: The conversation fills the context.
            TooManyToolRounds: The model goes on to call Python functions.
            IncompleteAnswer: The answer does not have the form that `schema`, `regex`, `grammar` or `choices`
                ask for.
        """
        changes: dict[str, Any] = {
            **options,
            "logprobs": logprobs,
            "top_logprobs": top_logprobs,
            "prompt_logprobs": prompt_logprobs,
            "schema": schema,
        }
        as_completion = logprobs or top_logprobs > 0 or prompt_logprobs is not None
        turn = self._turn(changes, split_reasoning=as_completion is True)
        events = self._conversation.send(message, turn, sys_prompt=sys_prompt)
        if stream:
            return (
                events
                if as_completion
                else format_chunks(events, is_batch=False, as_token_ids=return_as_token_ids)
            )
        completion = _final_completion(events)
        if as_completion:
            return completion
        return format_answer(completion, as_token_ids=return_as_token_ids, output=turn.output)

    @public_function(_SHARED)
    def stream(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[SamplingKwargs]
    ) -> Iterator[str]:
        """Send a message and stream the answer as text chunks; raises the errors of `send`.

        Args:
            message: The text of a user message, a message of any role, or several messages.
            sys_prompt: The system message, if the conversation does not have one yet.
        """
        events = self._send(message, sys_prompt, options, split_reasoning=False)
        return format_chunks(events, is_batch=False, as_token_ids=False)

    @public_function(_SHARED)
    def events(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[ChatKwargs]
    ) -> Iterator[CompletionChunk]:
        """Send a message and stream the answer as chunks, the last of which has the completion.

        Each answer that calls Python functions ends with a chunk that has its completion, too.

        Args:
            message: The text of a user message, a message of any role, or several messages.
            sys_prompt: The system message, if the conversation does not have one yet.

        It raises the errors of `send`.
        """
        return self._send(message, sys_prompt, options)

    @public_function(_SHARED)
    def complete(
        self, message: Said, *, sys_prompt: str | None = None, **options: Unpack[ChatKwargs]
    ) -> Completion:
        """Send a message and return the answer with its token ids, token counts and finish reason.

        Args:
            message: The text of a user message, a message of any role, or several messages.
            sys_prompt: The system message, if the conversation does not have one yet.

        It raises the errors of `send`.
        """
        return _final_completion(self._send(message, sys_prompt, options))

    def undo(self) -> Message | None:
        """Remove the last user message and all later ones; return it, or None if there is none."""
        return self._conversation.undo()

    def count_tokens(self) -> int:
        """Return the number of tokens of the conversation, rendered as a prompt."""
        return self._conversation.count_tokens()

    @property
    def context(self) -> int:
        """The context length in tokens."""
        return self._conversation.generate.generator.context

    @property
    def sampling(self) -> SamplingParams:
        """The sampling parameters of the chat, with the model's defaults for options that were not set."""
        return self._make_turn({}).request([0]).sampling_params

    def branch(self) -> "Chat":
        """Return an independent copy of the chat."""
        return attrs.evolve(self, conversation=self._conversation.fork())

    @public_function()
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the messages, tools and template variables to a JSON file atomically; return its path.

        Args:
            path: The file.
            overwrite: Whether to replace another conversation or any other file. A prefix of this
                conversation, and a file that this chat has written, is always replaced.

        Raises:
            InvalidArgument: The path is not valid.
            WouldOverwrite: The file has other content, and `overwrite` is False.
            UnsupportedOperation: The file cannot be written: the folder does not exist, the disk is full, or
                the path is a device or a FIFO.
        """
        target, options = local_path("path", path), self._conversation.renderer.options
        tools = None if options.tools is None else list(options.tools)
        saved = SavedChat(self.messages, tools, dict(options.variables) or None)
        write_chat(target, saved, overwrite=overwrite or target in self._saved_to)
        self._saved_to.add(target)
        return target

    def close(self) -> None:
        """End the conversation. The engine frees its KV cache when the memory is needed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(
        self,
        message: Said,
        sys_prompt: str | None,
        options: Mapping[str, Any],
        *,
        split_reasoning: bool = True,
    ) -> Iterator[CompletionChunk]:
        turn = self._turn(options, split_reasoning=split_reasoning)
        return self._conversation.send(message, turn, sys_prompt=sys_prompt)

    def _turn(self, options: Mapping[str, Any], *, split_reasoning: bool) -> TurnOptions:
        changes = {name: value for name, value in options.items() if value is not CHAT_DEFAULT}
        return attrs.evolve(self._make_turn(changes), split_reasoning=split_reasoning)


def _final_completion(events: Iterator[CompletionChunk]) -> Completion:
    *_, last = events
    assert last.completion is not None  # noqa: S101 - the last event always has it
    return last.completion
