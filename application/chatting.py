"""Talk: a conversation that remembers what was said and does not compute it again."""

from collections.abc import Callable, Iterator

import attrs

from litgpt.application.generating import GenerateText
from litgpt.application.prompting import WritePrompt
from litgpt.domain.chat import Message
from litgpt.domain.errors import BadArgument
from litgpt.domain.generation import Request, TextEvent
from litgpt.domain.ports import PrefixCache


@attrs.define
class Transcript:
    """What the model has seen, as text and as the very ids: the text encoded anew may be cut differently."""

    text: str = ""
    ids: list[int] = attrs.field(factory=list)


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

    def say(
        self, text: str, request: Callable[[list[int]], Request], *, stop: tuple[str, ...] = ()
    ) -> Iterator[TextEvent]:
        """Say something and return the answer's pieces as they come.

        Both sides are remembered once the answer is over, or as far as it came when the iterator is closed.
        An answer of which nothing came is forgotten, with what was said.

        Args:
            text: What the user says.
            request: Makes a request of the prompt's ids.
            stop: Strings that end the answer.

        Raises:
            BadArgument: `text` is empty.
            PromptTooLong: The conversation has outgrown the context.

        """
        if not text:
            raise BadArgument("prompt", text, "a text of at least one character")
        asked = [*self.messages, Message("user", text)]
        rendered = self.write.render(asked)
        ids = self._encode(rendered)
        pieces = self.generate.stream([request(ids)], stop=stop, prefix=self.prefix)
        return self._remember(pieces, asked, Transcript(rendered, ids))

    def branch(self) -> "Conversation":
        """Return a conversation that begins as this one and goes its own way."""
        return attrs.evolve(
            self,
            prefix=self.prefix.fork(),
            messages=list(self.messages),
            seen=Transcript(self._seen.text, list(self._seen.ids)),
        )

    def close(self) -> None:
        """Free the memory of what was computed; the messages stay."""
        self.prefix.close()

    def _encode(self, rendered: str) -> list[int]:
        seen = self._seen
        if seen.text and rendered.startswith(seen.text):
            return seen.ids + self.write.tokenizer.encode(rendered[len(seen.text) :], bos=False)
        return self.write.encode(rendered)

    def _remember(
        self, pieces: Iterator[TextEvent], asked: list[Message], seen: Transcript
    ) -> Iterator[TextEvent]:
        answer = ""
        try:
            for event in pieces:
                answer += event.text
                if event.completion is not None:
                    ids = list(event.completion.token_ids)
                    said = self.write.tokenizer.decode(ids, special=True)
                    self._seen = Transcript(seen.text + said, seen.ids + ids)
                yield event
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            if answer:
                self.messages = [*asked, Message("assistant", answer)]
