"""Talk: a conversation that remembers what was said and does not compute it again."""

from collections.abc import Callable, Iterator, Mapping

import attrs

from litgpt.application.generating import GenerateText
from litgpt.application.prompting import WritePrompt, conversation
from litgpt.domain.chat import Message, Messages, message, messages
from litgpt.domain.errors import BadArgument
from litgpt.domain.generation import Request, TextEvent
from litgpt.domain.messages import brief_repr
from litgpt.domain.ports import PrefixCache


@attrs.frozen
class Turn:
    """How one message is written, and its answer generated.

    Attributes:
        write: Renders and encodes the conversation.
        request: Makes a request of the prompt's ids.
        stop: Strings that end the answer.

    """

    write: WritePrompt
    request: Callable[[list[int]], Request]
    stop: tuple[str, ...] = ()


@attrs.define
class Transcript:
    """What the model has seen, as text and as the very ids: the text encoded anew may be cut differently."""

    text: str = ""
    ids: list[int] = attrs.field(factory=list)

    __repr__ = brief_repr


@attrs.define(eq=False)
class Conversation:
    """Says something to the model, and remembers.

    Attributes:
        write: Renders and encodes the conversation.
        generate: Generates the answers.
        prefix: What the model has computed of the conversation so far.
        messages: What was said, by whom.

    """

    write: WritePrompt
    generate: GenerateText
    prefix: PrefixCache
    messages: list[Message] = attrs.field(factory=list)
    _seen: Transcript = attrs.field(factory=Transcript)

    __repr__ = brief_repr

    def say(self, said: object, turn: Turn, *, sys_prompt: str | None = None) -> Iterator[TextEvent]:
        """Say something and return the answer's pieces as they come.

        Both sides are remembered once the answer is over, or as far as it came when the iterator is closed.
        An answer of which nothing came is forgotten, with what was said.

        Args:
            said: What the user says, as a text; or a message, such as a tool's result; or several of them.
            turn: How it is written, and the answer generated.
            sys_prompt: The system message of a conversation that has none yet.

        Raises:
            BadArgument: `said` is empty, or there is a system message already.
            WrongType: It is neither a text nor messages.
            BadPrompt: The prompt style cannot express it.
            PromptTooLong: The conversation has outgrown the context.

        """
        write = turn.write
        asked = [*conversation([*self.messages, *_messages(said)], sys_prompt)]
        if isinstance(said, str):
            write.warn_if_rendered(said)
        rendered = write.render(asked)
        prompt = turn.request(self._encode(rendered, write))
        pieces = self.generate.stream([prompt], stop=turn.stop, prefix=self.prefix)
        return self._remember(pieces, asked, prompt, rendered, write)

    def branch(self) -> "Conversation":
        """Return a conversation that begins as this one and goes its own way."""
        return attrs.evolve(
            self,
            prefix=self.prefix.fork(),
            messages=list(self.messages),
            seen=Transcript(self._seen.text, list(self._seen.ids)),
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
        return len(self._encode(self.write.render(self.messages), self.write)) if self.messages else 0

    def close(self) -> None:
        """Free the memory of what was computed; the messages stay."""
        self.prefix.close()

    def _encode(self, rendered: str, write: WritePrompt) -> list[int]:
        seen = self._seen
        if seen.text and rendered.startswith(seen.text):
            return seen.ids + write.encode(rendered[len(seen.text) :], continues=True)
        return write.encode(rendered)

    def _remember(
        self,
        pieces: Iterator[TextEvent],
        asked: list[Message],
        prompt: Request,
        rendered: str,
        write: WritePrompt,
    ) -> Iterator[TextEvent]:
        answer: list[str] = []
        continued = write.options.continue_final_message
        try:
            for event in pieces:
                answer.append(event.text)
                if event.completion is not None:
                    ids = list(event.completion.token_ids)
                    if write.raw and ids and ids[-1] in prompt.end_ids:
                        ids.pop()  # in a text that goes on as it is, the user writes what ends a turn
                    said = write.tokenizer.decode(ids, special=True)
                    self._seen = Transcript(rendered + said, [*prompt.prompt, *ids])
                yield event
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            text = "".join(answer)
            if text and continued:
                self.messages = [*asked[:-1], asked[-1].continued(text, continued)]
            elif text:
                self.messages = [*asked, Message("assistant", text)]


def _messages(said: object) -> Messages:
    if isinstance(said, str):
        if not said:
            raise BadArgument("prompt", said, "a non-empty string")
        return (Message("user", said),)
    if isinstance(said, Mapping | Message):
        return (message(said, "message"),)
    return messages(said)
