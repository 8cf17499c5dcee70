"""Which tools an answer calls: `tool_choice` and `parallel_tool_calls`, as in OpenAI's API."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import attrs

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat, ToolCallFormat
from litgpt.domain.validators import flag

Mode = Literal["auto", "none", "required"]


@attrs.frozen
class ToolChoice:
    """Which tools an answer calls.

    Attributes:
        mode: `auto`: the model decides; `none`: no tools; `required`: at least one.
        name: The only tool that the answer may call; None: any.
        parallel: Whether the answer may have several calls.
    """

    mode: Mode = "auto"
    name: str | None = None
    parallel: bool = True

    @property
    def is_required(self) -> bool:
        """Whether the answer has to call a tool."""
        return self.mode == "required"


AUTO: Final = ToolChoice()


@attrs.frozen
class CalledTool:
    """A tool that an answer may call.

    Attributes:
        name: The name.
        schema: The JSON schema of the arguments, in JSON.
        strict: Whether a schema that cannot be enforced is an error; otherwise it is then not enforced.
    """

    name: str
    schema: str
    strict: bool = False

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class ToolCallSpec:
    """The tool calls that an answer may have; other text is free unless a call is required.

    Attributes:
        format: The format of the calls.
        tools: The tools that it may call.
        choice: Whether it has to, and may have several calls.
        in_message: In a format with channels, whether the prompt ends within a message.
    """

    format: ToolCallFormat | ChannelFormat
    tools: tuple[CalledTool, ...]
    choice: ToolChoice = AUTO
    in_message: bool = False

    __repr__ = brief_repr

    @property
    def kind(self) -> str:
        """The argument that states it."""
        return "tool_choice"

    @property
    def special_tokens(self) -> frozenset[str]:
        """The marks of the format that may be special tokens."""
        return AnswerFormat(self.format).special_tokens


def parse_tool_choice(choice: object, parallel: object, tools: Sequence[Mapping[str, Any]]) -> ToolChoice:
    """Return the value of `tool_choice` and `parallel_tool_calls`.

    Args:
        choice: `auto`, `none`, `required`, the name of a tool, or OpenAI's object
            `{"type": "function", "function": {"name": …}}`.
        parallel: Whether an answer may have several calls.
        tools: The JSON schemas of the tools.

    Raises:
        WrongType: A value has another type.
        InvalidArgument: There is no tool with the name, or there are no tools to choose from.
    """
    flag("parallel_tool_calls", parallel)
    is_parallel = parallel is True
    if choice == "auto":
        return ToolChoice("auto", None, is_parallel)
    if choice == "none":
        return ToolChoice("none", None, is_parallel)
    names = [name for tool in tools if (name := _tool_name(tool)) is not None]
    name = _name(choice)
    if not names:
        raise InvalidArgument("tool_choice", choice, "'auto' or 'none' without tools")
    if name is None:
        return ToolChoice("required", None, is_parallel)
    if name not in names:
        expected = f"{', '.join(get_args(Mode))} or the name of one of the tools, {names}"
        raise InvalidArgument("tool_choice", name, expected)
    return ToolChoice("required", name, is_parallel)


def _tool_name(tool: Mapping[str, Any]) -> str | None:
    inner = tool.get("function")
    name = (inner if isinstance(inner, Mapping) else tool).get("name")
    return name if isinstance(name, str) else None


def _name(choice: object) -> str | None:
    """Return the name of the only tool to call; None for any."""
    if isinstance(choice, str):
        return None if choice == "required" else choice
    if isinstance(choice, Mapping) and choice.get("type") == "function":
        inner = choice.get("function", choice)
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
            return str(inner["name"])
    expected = "'auto', 'none', 'required', the name of a tool, or a dict such as "
    raise WrongType("tool_choice", choice, expected + "{'type': 'function', 'function': {'name': 'f'}}")
