"""A record of a data set, as the conversation that a model learns from.

The kinds of records are those that data sets on the Hub have: Alpaca's (Taori et al. 2023), pairs of a
prompt and its completion, OpenAI's messages, and ShareGPT's conversations.
"""

from collections.abc import Mapping, Sequence

from litgpt.domain.chat import Message
from litgpt.domain.prompts.style import PromptStyle, task
from litgpt.domain.training.errors import BadData

UNDERSTOOD = (
    "A record has 'instruction' and 'output' (and maybe 'input'), or 'prompt' and 'completion', or "
    "'messages' (each with 'role' and 'content'), or 'conversations' (each with 'from' and 'value')."
)

_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
"""Who speaks in ShareGPT's conversations, and what the role is called elsewhere."""


def example_of(record: object, *, where: str, style: PromptStyle | None = None) -> tuple[Message, ...]:
    """Return a record, or messages, as a conversation that ends with an answer.

    Args:
        record: A JSON object of one of the kinds above, or a list of messages. Fields that none of them has
            are left alone: data sets carry notes of their own.
        where: What to call the record in an error: a file and a line.
        style: Says how an instruction and its input are put together; None is one below the other.

    Raises:
        BadData: A field is missing or is no text, or there is no answer to learn.

    """
    if isinstance(record, Mapping):
        said = _from_record(record, where, style)
    elif isinstance(record, Sequence) and not isinstance(record, (str, bytes)):
        said = _turns(record, where, "role", "content")
    else:
        raise BadData(where, f"it is {_kind(record)}, not an object. {UNDERSTOOD}")
    if not said or said[-1].role != "assistant":
        last = f"it ends with what the {said[-1].role} says" if said else "it is empty"
        raise BadData(where, f"{last}, so there is no answer to learn.")
    return said


def text_of(record: object, *, where: str) -> str:
    """Return the text of a record to pretrain on.

    Raises:
        BadData: It has no field `text`, or that is no text.

    """
    if not isinstance(record, Mapping):
        raise BadData(where, f"it is {_kind(record)}, not an object with 'text'.")
    return _text(record, "text", where, "A record to pretrain on has 'text'.")


def _from_record(record: Mapping[str, object], where: str, style: PromptStyle | None) -> tuple[Message, ...]:
    if "messages" in record:
        return _turns(record["messages"], where, "role", "content")
    if "conversations" in record:
        return _turns(record["conversations"], where, "from", "value")
    if "instruction" in record:
        given = "" if record.get("input") is None else _text(record, "input", where)
        asked = task(style, _text(record, "instruction", where), given)
        return (*asked, Message("assistant", _text(record, "output", where)))
    if "prompt" in record:
        return (
            Message("user", _text(record, "prompt", where)),
            Message("assistant", _text(record, "completion", where)),
        )
    found = ", ".join(repr(name) for name in record) or "nothing"
    raise BadData(where, f"its fields are {found}. {UNDERSTOOD}")


def _turns(turns: object, where: str, who: str, what: str) -> tuple[Message, ...]:
    if not isinstance(turns, Sequence) or isinstance(turns, (str, bytes)):
        raise BadData(where, f"its messages are {_kind(turns)}, not a list. {UNDERSTOOD}")
    return tuple(_turn(turn, f"{where}, message {number}", who, what) for number, turn in enumerate(turns, 1))


def _turn(turn: object, where: str, who: str, what: str) -> Message:
    if isinstance(turn, Message):
        return turn
    if not isinstance(turn, Mapping):
        raise BadData(where, f"it is {_kind(turn)}, not an object with {who!r} and {what!r}.")
    role, content = _text(turn, who, where), _text(turn, what, where)
    if more := [name for name, value in turn.items() if name not in (who, what) and value is not None]:
        listed = ", ".join(map(repr, more))
        raise BadData(
            where, f"it has {listed}, which would be lost: only {who!r} and {what!r} can be learnt."
        )
    if who == "role":
        return Message(role, content)
    if role not in _SPEAKERS:
        raise BadData(where, f"it is from {role!r}; known are {', '.join(map(repr, _SPEAKERS))}.")
    return Message(_SPEAKERS[role], content)


def _text(record: Mapping[str, object], field: str, where: str, understood: str = UNDERSTOOD) -> str:
    if field not in record:
        raise BadData(where, f"it has no {field!r}. {understood}")
    value = record[field]
    if not isinstance(value, str):
        raise BadData(where, f"its {field!r} is {_kind(value)}, not a text.")
    return value


def _kind(value: object) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"
