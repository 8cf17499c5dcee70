"""Talk: a conversation that remembers what was said and does not compute it again."""

from collections.abc import Callable, Iterator, Mapping

import attrs

from litgpt.application.generate_text import GenerateText
from litgpt.application.render_prompt import RenderPrompt, to_messages
from litgpt.domain.chat.messages import Message, Messages, parse_message, parse_messages
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.request import CompletionChunk, GenerationRequest
from litgpt.domain.ports import PrefixCache


@attrs.frozen
class TurnOptions:
    """How one message is written, and its answer generated.

    Attributes:
        renderer: Renders and encodes the conversation.
        request: Makes a request of the prompt's ids.
        stop_strings: Strings that end the answer.

    """

    renderer: RenderPrompt
    request: Callable[[list[int]], GenerationRequest]
    stop_strings: tuple[str, ...] = ()


@attrs.define
class EncodedHistory:
    """What the model has seen, as text and as the very ids: the text encoded anew may be cut differently."""

    text: str = ""
    token_ids: list[int] = attrs.field(factory=list)

    __repr__ = brief_repr


@attrs.define(eq=False)
class Conversation:
    """Says something to the model, and remembers.

    Attributes:
        renderer: Renders and encodes the conversation.
        generate: Generates the answers.
        prefix: What the model has computed of the conversation so far.
        messages: What was said, by whom.

    """

    renderer: RenderPrompt
    generate: GenerateText
    prefix: PrefixCache
    messages: list[Message] = attrs.field(factory=list)
    _history: EncodedHistory = attrs.field(factory=EncodedHistory)

    __repr__ = brief_repr

    def send(
        self, message: object, turn: TurnOptions, *, sys_prompt: str | None = None
    ) -> Iterator[CompletionChunk]:
        """Say something and return the answer's pieces as they come.

        Both sides are remembered once the answer is over, or as far as it came when the iterator is closed.
        An answer of which nothing came is forgotten, with what was said.

        Args:
            message: What the user says, as a text; or a message, such as a tool's result; or several of them.
            turn: How it is written, and the answer generated.
            sys_prompt: The system message of a conversation that has none yet.

        Raises:
            BadArgument: `message` is empty, or there is a system message already.
            WrongType: It is neither a text nor messages.
            BadPrompt: The prompt style cannot express it.
            PromptTooLong: The conversation has outgrown the context.

        """
        write = turn.renderer
        asked = [*to_messages([*self.messages, *_user_messages(message)], sys_prompt)]
        if isinstance(message, str):
            write.warn_if_rendered(message)
        rendered = write.render(asked)
        prompt = turn.request(self._encode(rendered, write))
        pieces = self.generate.stream([prompt], stop_strings=turn.stop_strings, prefix=self.prefix)
        return self._remember(pieces, asked, prompt, rendered, write)

    def fork(self) -> "Conversation":
        """Return a conversation that begins as this one and goes its own way."""
        return attrs.evolve(
            self,
            prefix=self.prefix.fork(),
            messages=list(self.messages),
            history=EncodedHistory(self._history.text, list(self._history.token_ids)),
        )

    def undo(self) -> Message | None:
        """Forget the last user message and everything after it, and return it; None if there is none."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "user":
                forgotten = self.messages[index]
                self.messages = self.messages[:index]
                return forgotten
        return None

    def count_tokens(self) -> int:
        """Return the number of tokens of the conversation so far, as a prompt."""
        return len(self._encode(self.renderer.render(self.messages), self.renderer)) if self.messages else 0

    def close(self) -> None:
        """Free the memory of what was computed; the messages stay."""
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
                        ids.pop()  # in a text that goes on as it is, the user writes what ends a turn
                    said = renderer.tokenizer.decode(ids, include_special_tokens=True)
                    self._history = EncodedHistory(rendered + said, [*request.prompt, *ids])
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
