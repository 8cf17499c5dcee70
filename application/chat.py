"""Multi-turn conversations with a prefix cache."""

from collections.abc import Callable, Iterator, Mapping

import attrs

from litgpt.application.generate_text import GenerateText
from litgpt.application.render_prompt import RenderPrompt, to_messages
from litgpt.domain.chat.messages import Message, Messages, parse_message, parse_messages
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.request import CompletionChunk, GenerationRequest
from litgpt.domain.generation.stop_strings import NO_STOP_STRINGS, StopStrings
from litgpt.domain.ports import PrefixCache


@attrs.frozen
class TurnOptions:
    """Rendering and generation options of one turn; `request` returns the request for prompt ids."""

    renderer: RenderPrompt
    request: Callable[[list[int]], GenerationRequest]
    stop_strings: StopStrings = NO_STOP_STRINGS


@attrs.define
class EncodedHistory:
    """Text and token ids of the conversation. Encoding the text again can yield different ids."""

    text: str = ""
    token_ids: list[int] = attrs.field(factory=list)

    __repr__ = brief_repr


@attrs.define(eq=False)
class Conversation:
    """A conversation with a model, and its prefix cache."""

    renderer: RenderPrompt
    generate: GenerateText
    prefix: PrefixCache
    messages: list[Message] = attrs.field(factory=list)
    _history: EncodedHistory = attrs.field(factory=EncodedHistory)

    __repr__ = brief_repr

    def send(
        self, message: object, turn: TurnOptions, *, sys_prompt: str | None = None
    ) -> Iterator[CompletionChunk]:
        """Send one or several messages and return an iterator over the chunks of the answer.

        The message and the answer are added to the conversation when the answer ends or the iterator is
        closed. If the answer is empty, neither is added.
        """
        renderer = turn.renderer
        messages = [*to_messages([*self.messages, *_user_messages(message)], sys_prompt)]
        if isinstance(message, str):
            renderer.warn_if_rendered(message)
        rendered = renderer.render(messages)
        request = turn.request(self._encode(rendered, renderer))
        chunks = self.generate.stream([request], stop_strings=turn.stop_strings, prefix=self.prefix)
        return self._remember(chunks, messages, request, rendered, renderer)

    def fork(self) -> "Conversation":
        return attrs.evolve(
            self,
            prefix=self.prefix.fork(),
            messages=list(self.messages),
            history=EncodedHistory(self._history.text, list(self._history.token_ids)),
        )

    def undo(self) -> Message | None:
        """Remove the last user message and all later messages; return it, or None without one."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "user":
                removed = self.messages[index]
                self.messages = self.messages[:index]
                return removed
        return None

    def count_tokens(self) -> int:
        """Return the number of tokens of the conversation so far, as a prompt."""
        return len(self._encode(self.renderer.render(self.messages), self.renderer)) if self.messages else 0

    def close(self) -> None:
        """Free the prefix cache; the messages are kept."""
        self.prefix.close()

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
    ) -> Iterator[CompletionChunk]:
        answer: list[str] = []
        continued = renderer.options.continue_final_message
        try:
            for event in chunks:
                answer.append(event.text)
                if event.completion is not None:
                    ids = list(event.completion.token_ids)
                    if renderer.raw and ids and ids[-1] in request.stop_token_ids:
                        ids.pop()  # in raw text, the user writes the end of a turn
                    decoded = renderer.tokenizer.decode(ids, include_special_tokens=True)
                    self._history = EncodedHistory(rendered + decoded, [*request.prompt, *ids])
                yield event
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
            text = "".join(answer)
            if text and continued:
                self.messages = [*messages[:-1], messages[-1].with_continuation(text, continued)]
            elif text:
                self.messages = [*messages, Message("assistant", text)]


def _user_messages(prompt: object) -> Messages:
    if isinstance(prompt, str):
        if not prompt:
            raise InvalidArgument("prompt", prompt, "a non-empty string")
        return (Message("user", prompt),)
    if isinstance(prompt, Mapping | Message):
        return (parse_message(prompt, "message"),)
    return parse_messages(prompt)
