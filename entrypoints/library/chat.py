"""`llm.chat()`: a conversation that remembers."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from litgpt.application.chatting import Conversation
from litgpt.domain.chat import Message, messages
from litgpt.domain.errors import DamagedFile, MissingFile
from litgpt.domain.generation import Completion, Request, TextEvent


@attrs.define(eq=False)
class Chat:
    """A conversation with a model.

        with llm.chat() as chat:
            print(chat.send("My name is Ada."))
            print(chat.send("What is my name?"))

    What was said is not computed again. An answer that is abandoned is remembered as far as it came.
    """

    _conversation: Conversation
    _request: Callable[[list[int]], Request]
    _stop: tuple[str, ...]

    @property
    def messages(self) -> list[Message]:
        """What was said so far, by whom."""
        return list(self._conversation.messages)

    def send(self, text: str) -> str:
        """Say something and return the answer."""
        return self.complete(text).text

    def stream(self, text: str) -> Iterator[str]:
        """Say something and return the answer in pieces, as they come."""
        return (event.text for event in self._say(text) if event.text)

    def complete(self, text: str) -> Completion:
        """Say something and return the answer with its ids, counts and why it ended."""
        *_, last = self._say(text)
        assert last.completion is not None  # noqa: S101 - the last event always has it
        return last.completion

    def branch(self) -> "Chat":
        """Return a chat that begins as this one and goes its own way."""
        return attrs.evolve(self, conversation=self._conversation.branch())

    def save(self, path: str | Path) -> None:
        """Write what was said to a JSON file, whole or not at all."""
        said = {"messages": [message.as_dict() for message in self._conversation.messages]}
        target = Path(path)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(said, file, ensure_ascii=False, indent=1)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Free the memory of what was computed; what was said is kept."""
        self._conversation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _say(self, text: str) -> Iterator[TextEvent]:
        return self._conversation.say(text, self._request, stop=self._stop)


def read_messages(path: str | Path) -> list[Message]:
    """Return what `Chat.save` wrote.

    Raises:
        MissingFile: There is no such file.
        DamagedFile: It is no saved chat.

    """
    try:
        said = json.loads(Path(path).read_text(encoding="utf-8"))
        return list(messages(said["messages"])) if said["messages"] else []
    except FileNotFoundError as error:
        raise MissingFile(str(path), "pass a file that Chat.save wrote.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedFile(str(path), "it is no saved chat.") from error
