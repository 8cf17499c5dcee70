"""Multi-turn conversations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

import attrs

from litgpt.application.generate_text import GenerateText
from litgpt.application.reasoning_budget import limit_reasoning
from litgpt.application.render_prompt import RenderPrompt, to_messages
from litgpt.application.structured_output import OutputFormat
from litgpt.application.tools.python_tools import PythonTools, tool_message
from litgpt.domain.chat.messages import Message, Messages, last_user_message, parse_message, parse_messages
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.errors import TooManyToolRounds
from litgpt.domain.generation.request import CompletionChunk, GenerationRequest
from litgpt.domain.generation.stop_strings import NO_STOP_STRINGS, StopStrings
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.tool_calls.deltas import Delta, ParsedAnswer, ToolCall
from litgpt.domain.tool_calls.formats import HistoryFormat


@attrs.frozen
class TurnOptions:
    """Rendering and generation options of one turn.

    Attributes:
        request: Returns the request for prompt ids.
        tools: The Python functions that are called when the model calls them.
        max_tool_rounds: How many times in a row they are, before the model must answer.
        split_reasoning: Whether reasoning is split from the answer of a call without tools.
        output: The form of the answer, which then does not call tools; None: any text.
        reasoning_budget: The largest number of tokens of the reasoning before an answer; None: any.
    """

    renderer: RenderPrompt
    request: Callable[[list[int]], GenerationRequest]
    stop_strings: StopStrings = NO_STOP_STRINGS
    tools: PythonTools = attrs.field(factory=PythonTools)
    max_tool_rounds: int = 8
    split_reasoning: bool = False
    output: OutputFormat | None = None
    reasoning_budget: int | None = None


@attrs.define
class EncodedHistory:
    """Text and token ids of the conversation. Encoding the text again can yield different ids."""

    text: str = ""
    token_ids: list[int] = attrs.field(factory=list)

    __repr__ = brief_repr


@attrs.define(eq=False)
class Conversation:
    """A conversation with a model."""

    renderer: RenderPrompt
    generate: GenerateText
    messages: list[Message] = attrs.field(factory=list)
    _history: EncodedHistory = attrs.field(factory=EncodedHistory)

    __repr__ = brief_repr

    def send(
        self, message: object, turn: TurnOptions, *, sys_prompt: str | None = None
    ) -> Iterator[CompletionChunk]:
        """Send one or several messages and return an iterator over the chunks of the answer.

        The message and the answer are added to the conversation when the answer ends or the iterator is
        closed. If the answer is empty, neither is added. While the answer calls Python functions, their
        results are sent in turn, and the chunks of the next answer follow; each answer has a completion. If
        the iterator is closed before a call has a result, nothing of the turn is added.

        Raises:
            TooManyToolRounds: The model goes on to call functions; raised by the iterator.
        """
        renderer = turn.renderer
        messages = [*to_messages([*self.messages, *_user_messages(message)], sys_prompt)]
        if isinstance(message, str):
            renderer.warn_if_rendered(message)
        return self._call_tools(self._answer(messages, turn), turn)

    def fork(self) -> "Conversation":
        return attrs.evolve(
            self,
            messages=list(self.messages),
            history=EncodedHistory(self._history.text, list(self._history.token_ids)),
        )

    def undo(self) -> Message | None:
        """Remove the last user message and all later messages; return it, or None without one."""
        index = last_user_message(self.messages)
        if index is None:
            return None
        removed = self.messages[index]
        self.messages = self.messages[:index]
        return removed

    def count_tokens(self) -> int:
        """Return the number of tokens of the conversation so far, as a prompt."""
        return len(self._encode(self.renderer.render(self.messages), self.renderer)) if self.messages else 0

    def _answer(self, messages: list[Message], turn: TurnOptions) -> Iterator[CompletionChunk]:
        renderer = turn.renderer
        rendered = renderer.render(messages)
        is_text = turn.output is None
        syntax = renderer.answer_syntax(
            rendered, split_reasoning=turn.split_reasoning or not is_text, calls=is_text
        )
        request = turn.request(self._encode(rendered, renderer))
        request = limit_reasoning(request, turn.reasoning_budget, renderer, rendered)
        chunks = self.generate.stream(
            [request],
            stop_strings=turn.stop_strings,
            syntaxes=[syntax],
            output=turn.output,
        )
        return self._remember(chunks, messages, request, rendered, renderer, syntax)

    def _call_tools(self, chunks: Iterator[CompletionChunk], turn: TurnOptions) -> Iterator[CompletionChunk]:
        """Yield the chunks of an answer; while it calls Python functions, those of the next one as well."""
        before = self.messages
        for rounds in count():
            calls: tuple[ToolCall, ...] = ()
            try:
                for chunk in chunks:
                    # An answer that was cut off may lack calls, so its calls are not run.
                    if chunk.completion is not None and chunk.completion.finish_reason == "tool_calls":
                        calls = chunk.completion.tool_calls
                    yield chunk
                _close(chunks)
                if not turn.tools.can_run(calls):
                    return
                is_last = rounds == turn.max_tool_rounds
                run = _refuse_call if is_last else turn.tools.run
                self.messages = [*self.messages, *map(run, calls)]
            except BaseException:
                _close(chunks)
                if turn.tools.can_run(calls):  # calls without results are not a valid conversation
                    self.messages = before
                raise
            if is_last:
                raise TooManyToolRounds(rounds, [call.name for call in calls])
            turn = attrs.evolve(turn, renderer=turn.renderer.after_calls())
            chunks = self._answer(self.messages, turn)

    def _encode(self, rendered: str, renderer: RenderPrompt) -> list[int]:
        seen = self._history
        if seen.text and rendered.startswith(seen.text):
            return seen.token_ids + renderer.encode(rendered[len(seen.text) :], continues=True)
        return renderer.encode(rendered)

    def _remember(
        self,
        chunks: Iterator[CompletionChunk],
        messages: list[Message],
        request: GenerationRequest,
        rendered: str,
        renderer: RenderPrompt,
        syntax: AnswerSyntax | None,
    ) -> Iterator[CompletionChunk]:
        deltas: list[Delta] = []
        calls: tuple[ToolCall, ...] = ()  # of an answer that ended
        try:
            for event in chunks:
                deltas += event.deltas
                if event.completion is not None:
                    calls = event.completion.tool_calls
                    ids = list(event.completion.token_ids)
                    if renderer.raw and ids and ids[-1] in request.stop_token_ids:
                        ids.pop()  # in raw text, the user writes the end of a turn
                    decoded = renderer.tokenizer.decode(ids, include_special_tokens=True)
                    self._history = EncodedHistory(rendered + decoded, [*request.prompt, *ids])
                yield event
        finally:
            _close(chunks)
            answer = attrs.evolve(ParsedAnswer.from_deltas(deltas), tool_calls=calls)
            if answer != ParsedAnswer(""):
                continued = renderer.options.continue_final_message
                self.messages = _with_answer(messages, answer, syntax, continued)


def _with_answer(
    messages: list[Message],
    answer: ParsedAnswer,
    syntax: AnswerSyntax | None,
    field: bool | str,  # noqa: FBT001 - as the argument
) -> list[Message]:
    """Return messages with an answer, which continues a `field` of the last one or is a new message."""
    before, message = (messages[:-1], messages[-1]) if field else (messages, Message("assistant", ""))
    field = field if isinstance(field, str) else "content"
    if answer.reasoning is not None:
        reasoning = field if field != "content" else "reasoning_content"
        message, field = message.with_continuation(answer.reasoning, reasoning), "content"
    if answer.text:
        message = message.with_continuation(answer.text, field)
    if answer.tool_calls and syntax is not None and syntax.format.tool_calls is not None:
        message = _with_calls(message, answer.tool_calls, syntax.format.tool_calls.history)
    return [*before, message]


def _with_calls(message: Message, calls: Sequence[ToolCall], history: HistoryFormat) -> Message:
    """Return a message with calls, as the chat template needs it."""
    content, fields = message.content, dict(message.fields)
    fields["tool_calls"] = [call.as_dict(string_arguments=history.string_arguments) for call in calls]
    if history.reasoning_or_content and content and "reasoning_content" in fields:
        fields["reasoning_content"] += f"\n\n{message.text}"
        content = ""
    return Message(message.role, None if history.null_content and not content else content, fields)


def _refuse_call(call: ToolCall) -> Message:
    return tool_message(call, "Error: not called, too many calls.")


def _close(chunks: Iterator[CompletionChunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _user_messages(prompt: object) -> Messages:
    if isinstance(prompt, str):
        if not prompt:
            raise InvalidArgument("prompt", prompt, "a non-empty string")
        return (Message("user", prompt),)
    if isinstance(prompt, Mapping | Message):
        return (parse_message(prompt, "message"),)
    return parse_messages(prompt)
