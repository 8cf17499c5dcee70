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
        names: The only tools that the answer may call; empty: all.
        parallel: Whether the answer may have several calls.
    """

    mode: Mode = "auto"
    names: tuple[str, ...] = ()
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
        tools: The tools that it may call, those of `choice.names`.
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
            `{"type": "function", "function": {"name": …}}` or `{"type": "allowed_tools", "allowed_tools":
            {"mode": …, "tools": […]}}`.
        parallel: Whether an answer may have several calls.
        tools: The JSON schemas of the tools.

    Raises:
        WrongType: A value has another type.
        InvalidArgument: A tool of this name was not passed, or none was.
    """
    flag("parallel_tool_calls", parallel)
    is_parallel = parallel is True
    if choice == "auto":
        return ToolChoice("auto", (), is_parallel)
    if choice == "none":
        return ToolChoice("none", (), is_parallel)
    names = [name for tool in tools if (name := _tool_name(tool)) is not None]
    mode, chosen = _read(choice)
    if not names:
        raise InvalidArgument("tool_choice", choice, "'auto' or 'none' without tools")
    unknown = [name for name in chosen if name not in names]
    if unknown:
        expected = f"{', '.join(get_args(Mode))} or the name of one of the tools, {names}"
        raise InvalidArgument("tool_choice", unknown[0], expected)
    return ToolChoice(mode, chosen, is_parallel)


def _tool_name(tool: Mapping[str, Any]) -> str | None:
    inner = tool.get("function")
    name = (inner if isinstance(inner, Mapping) else tool).get("name")
    return name if isinstance(name, str) else None


def _read(choice: object) -> tuple[Mode, tuple[str, ...]]:
    """Return the mode of a choice and the names of the only tools to call; without names, any."""
    if isinstance(choice, str):
        return "required", () if choice == "required" else (choice,)
    if isinstance(choice, Mapping):
        allowed = choice.get("allowed_tools") if choice.get("type") == "allowed_tools" else None
        if isinstance(allowed, Mapping) and isinstance(allowed.get("tools"), list):
            names = tuple(name for tool in allowed["tools"] if (name := _chosen(tool)) is not None)
            mode = allowed.get("mode")
            if names and len(names) == len(allowed["tools"]) and mode in ("auto", "required"):
                return "auto" if mode == "auto" else "required", names
        elif (name := _chosen(choice)) is not None:
            return "required", (name,)
    expected = "'auto', 'none', 'required', the name of a tool, or a dict such as "
    raise WrongType("tool_choice", choice, expected + "{'type': 'function', 'function': {'name': 'f'}}")


def _chosen(choice: object) -> str | None:
    is_function = isinstance(choice, Mapping) and choice.get("type") == "function"
    return _tool_name(choice) if isinstance(choice, Mapping) and is_function else None
