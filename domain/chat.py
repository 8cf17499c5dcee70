"""Messages: who said what."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from litgpt.domain.errors import BadArgument, WrongType


@attrs.frozen
class Message:
    """One turn of a conversation.

    Attributes:
        role: `system`, `user`, `assistant`, or what else the model's chat template knows.
        content: What was said.

    """

    role: str
    content: str

    def as_dict(self) -> dict[str, str]:
        """Return the message as chat templates and JSON files write it."""
        return {"role": self.role, "content": self.content}


Messages: TypeAlias = Sequence[Message]


def messages(value: object) -> tuple[Message, ...]:
    """Return a list of Messages, or of `{"role": …, "content": …}`, as Messages.

    Raises:
        WrongType: It is no such list.
        BadArgument: It is empty.

    """
    expected = "a list of messages such as {'role': 'user', 'content': 'Hello'}"
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise WrongType("messages", value, expected)
    if not value:
        raise BadArgument("messages", value, expected)
    return tuple(_message(one, expected) for one in value)


def _message(value: object, expected: str) -> Message:
    if isinstance(value, Message):
        return value
    if isinstance(value, Mapping) and set(value) == {"role", "content"}:
        role, content = value["role"], value["content"]
        if isinstance(role, str) and isinstance(content, str):
            return Message(role, content)
    raise WrongType("messages", value, expected)
