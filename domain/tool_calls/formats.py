"""What describes a format of tool calls and of reasoning. The values are in `known_formats`."""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import attrs

_SPECIAL_TOKEN = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


@attrs.frozen
class JSONArguments:
    """The arguments are a JSON object."""


@attrs.frozen(kw_only=True)
class TaggedArguments:
    """Each argument is text between marks: a string as it is, any other value as JSON.

    Attributes:
        key_begin: Begins an argument, before its name.
        key_end: Ends the name.
        value_begin: Begins the value, if there is a mark between the name and the value.
        value_end: Ends the value.
        newlines: Whether the value is on lines of its own: one line break at each end is not part of it.
    """

    key_begin: str
    key_end: str
    value_begin: str = ""
    value_end: str
    newlines: bool = False


@attrs.frozen(kw_only=True)
class BareKeyArguments:
    """The arguments are an object like JSON, with keys that are not quoted.

    Attributes:
        quote: Begins and ends a string, in which nothing is escaped.
    """

    quote: str


Arguments: TypeAlias = JSONArguments | TaggedArguments | BareKeyArguments


@attrs.frozen(kw_only=True)
class JSONCall:
    """A call is a JSON object with the name and the arguments, such as `{"name": "f", "arguments": {}}`.

    Attributes:
        name: The key of the name.
        arguments: The keys that the arguments may have; the first is the one in the model's template.
        id: The key of the id.
    """

    name: str = "name"
    arguments: tuple[str, ...] = ("arguments", "parameters")
    id: str = "id"


@attrs.frozen(kw_only=True)
class NamedCall:
    """A call is a name followed by the arguments.

    Attributes:
        before_name: Begins the call.
        after_name: Ends the name; empty: the name ends where the arguments begin, or the call ends.
        before_id: Ends the name in place of `after_name`, if an id follows, which `after_name` ends.
        name_prefix: If set, the name is written as an id: `functions.f:0`, with this prefix and a number.
        arguments: The format of the arguments.
    """

    before_name: str = ""
    after_name: str = ""
    before_id: str = ""
    name_prefix: str = ""
    arguments: Arguments = attrs.field(factory=JSONArguments)


@attrs.frozen(kw_only=True)
class HistoryFormat:
    """What a chat template needs of earlier messages with tool calls.

    Attributes:
        string_arguments: Whether the arguments are JSON text instead of objects.
        null_content: Whether the content of a message that only has calls is None instead of empty.
        reasoning_or_content: Whether a message with calls and reasoning has no content. Its text is then part
            of the reasoning.
    """

    string_arguments: bool = False
    null_content: bool = False
    reasoning_or_content: bool = False


@attrs.frozen(kw_only=True)
class ToolCallFormat:
    """A format of tool calls in the text of an answer: `begin call call_end … end`.

    White space between these parts, and around the calls, is not part of the text.

    Attributes:
        name: A short name.
        template_marks: Texts that a chat template with this format has, all of them.
        begin: Begins the calls.
        bare: Whether an answer that begins with a call, without `begin`, is a call as well, if its name is
            that of a tool.
        opening: Follows `begin` before the first call, such as the bracket of a list.
        call: The format of one call.
        call_end: Ends each call.
        separator: Stands between calls.
        end: Ends the calls.
        history: What the template needs of earlier messages with calls.
    """

    name: str
    template_marks: tuple[str, ...] = ()
    begin: str = ""
    bare: bool = False
    opening: str = ""
    call: JSONCall | NamedCall
    call_end: str = ""
    separator: str = ""
    end: str = ""
    history: HistoryFormat = attrs.field(factory=HistoryFormat)


@attrs.frozen(kw_only=True)
class ReasoningFormat:
    """Reasoning before an answer, between two marks.

    Attributes:
        begin: Begins the reasoning. The prompt may end with it.
        end: Ends the reasoning.
        header: May stand before `begin`, unless the reasoning is the first of an answer.
    """

    begin: str
    end: str
    header: str = ""


@attrs.frozen(kw_only=True)
class ChannelFormat:
    """An answer of messages with headers, such as `<|channel|>analysis<|message|>…<|end|>`.

    A message with a recipient is a tool call, with arguments in JSON.

    Attributes:
        name: A short name.
        template_marks: Texts that a chat template with this format has, all of them.
        start: Begins the header of a message, before the role.
        channel: Stands before the name of the channel in a header.
        message: Ends a header.
        ends: End a message.
        recipient: Stands before the name of a tool in a header.
        call_channel: The channel of tool calls.
        call_content_type: Stands after the name of a tool in a header.
        call_end: Which of `ends` ends a tool call.
        reasoning: The channels of reasoning.
        history: What the template needs of earlier messages with calls.
    """

    name: str
    template_marks: tuple[str, ...]
    start: str
    channel: str
    message: str
    ends: tuple[str, ...]
    recipient: str
    call_channel: str
    call_content_type: str
    call_end: str
    reasoning: tuple[str, ...]
    history: HistoryFormat = attrs.field(factory=HistoryFormat)

    @property
    def reasoning_marks(self) -> ReasoningFormat:
        """The marks of a message of the first channel of reasoning."""
        begin = f"{self.channel}{self.reasoning[0]}{self.message}"
        return ReasoningFormat(begin=begin, end=self.ends[0], header=f"{self.start}assistant")


@attrs.frozen
class AnswerFormat:
    """The formats of tool calls and reasoning in the answers of a model.

    Attributes:
        tool_calls: The format of tool calls; None: calls are not parsed.
        reasoning: The format of reasoning; None if there is none, or the channels have it.
    """

    tool_calls: ToolCallFormat | ChannelFormat | None = None
    reasoning: ReasoningFormat | None = None

    @property
    def special_tokens(self) -> frozenset[str]:
        """The marks that may be special tokens, which a decoder has to show to the parser."""
        return frozenset(token for text in _texts(self) for token in _SPECIAL_TOKEN.findall(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            if field.name != "template_marks":  # some occur in prompts only
                yield from _texts(getattr(value, field.name))
