"""How the answer to one prompt is split into text, reasoning and tool calls."""

import string
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.tool_calls.deltas import dump_json
from litgpt.domain.tool_calls.formats import AnswerFormat, ChannelFormat
from litgpt.domain.tool_calls.known_formats import detect_format
from litgpt.domain.tool_calls.tool_choice import AUTO, CalledTool, ToolCallSpec, ToolChoice

if TYPE_CHECKING:
    from litgpt.domain.tool_calls.parser import AnswerParser

_ID_CHARACTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9  # the templates of Mistral accept no other length


@attrs.frozen(kw_only=True)
class AnswerSyntax:
    """The syntax of the answer to one prompt.

    Attributes:
        format: The formats of tool calls and reasoning.
        schemas: The JSON schemas of the arguments of each tool that may be called, by the tool's name.
        in_reasoning: Whether the prompt ends within reasoning.
        prompt: The rendered prompt, from which the ids of calls are derived.
        choice: Which tools the answer calls.
        strict: The names of the tools whose schemas have to be enforced.
    """

    format: AnswerFormat
    schemas: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    in_reasoning: bool = False
    prompt: str = attrs.field(default="", repr=False)
    choice: ToolChoice = AUTO
    strict: frozenset[str] = frozenset()

    __repr__ = brief_repr

    def call_spec(self) -> ToolCallSpec | None:
        """Return the calls that the answer may have; None without tools."""
        form = self.format.tool_calls
        if form is None or not self.schemas:
            return None
        return ToolCallSpec(
            format=form,
            tools=tuple(
                CalledTool(name, dump_json(schema), name in self.strict)
                for name, schema in self.schemas.items()
            ),
            choice=self.choice,
            in_message=isinstance(form, ChannelFormat) and _ends_in_message(form, self.prompt),
        )

    def parser(self) -> "AnswerParser":
        """Return a parser for one answer."""
        from litgpt.domain.tool_calls.parser import AnswerParser

        return AnswerParser(self.format, self.schemas, _ids(self.prompt), in_reasoning=self.in_reasoning)


def answer_syntax(
    template: str,
    prompt: str,
    tools: Sequence[Mapping[str, Any]] | None,
    *,
    continues: bool = False,
    choice: ToolChoice = AUTO,
) -> AnswerSyntax | None:
    """Return the syntax of an answer; None if it can have neither tool calls nor reasoning.

    Args:
        template: The source of the chat template.
        prompt: The rendered prompt.
        tools: The JSON schemas of the tools that were passed to the template.
        continues: Whether the prompt ends within the answer.
        choice: Which tools the answer calls.
    """
    form = detect_format(template, tools=bool(tools))
    if form is None:
        return None
    return AnswerSyntax(
        format=form,
        schemas={
            name: schema
            for name, schema in tool_parameters(tools or ()).items()
            if not choice.names or name in choice.names
        },
        in_reasoning=_ends_in_reasoning(form, prompt, continues=continues),
        prompt=prompt,
        choice=choice,
        strict=frozenset(
            function["name"]
            for tool in tools or ()
            if (function := _function(tool)).get("strict") is True and "name" in function
        ),
    )


def tool_parameters(tools: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the JSON schema of the arguments of each tool, by the tool's name.

    A tool is `{"type": "function", "function": {"name": …, "parameters": …}}`, or the inner object alone.
    """
    schemas: dict[str, Mapping[str, Any]] = {}
    for tool in tools:
        function = _function(tool)
        name, parameters = function.get("name"), function.get("parameters")
        if isinstance(name, str):
            schemas[name] = parameters if isinstance(parameters, Mapping) else {}
    return schemas


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = tool.get("function")
    return inner if isinstance(inner, Mapping) else tool


def _ends_in_reasoning(form: AnswerFormat, prompt: str, *, continues: bool) -> bool:
    if isinstance(form.tool_calls, ChannelFormat):
        return _ends_in_reasoning_channel(form.tool_calls, prompt)
    reasoning = form.reasoning
    if reasoning is None:
        return False
    if continues:
        return prompt.rfind(reasoning.begin) > prompt.rfind(reasoning.end)
    # A message of the user may contain the mark, so only the end of the prompt counts.
    return prompt.rstrip().endswith(reasoning.begin)


def _ends_in_reasoning_channel(form: ChannelFormat, prompt: str) -> bool:
    header = prompt.rpartition(form.channel)[2].partition(form.message)[0]
    in_message = _ends_in_message(form, prompt)
    return in_message and header.split()[:1] in [[channel] for channel in form.reasoning]


def _ends_in_message(form: ChannelFormat, prompt: str) -> bool:
    _, message, text = prompt.rpartition(form.channel)[2].partition(form.message)
    return bool(message) and not any(end in text for end in form.ends)


def _ids(prompt: str) -> Callable[[], str]:
    """Return a function that returns ids, which differ within a conversation, as its prompts do.

    They are not random: answers can be reproduced, and the ranks of a model have the same.
    """
    from hashlib import sha256

    numbers = count()

    def new_id() -> str:
        # An escaped special token has a lone surrogate.
        text = f"{next(numbers)} {prompt}".encode("utf-8", "surrogatepass")
        digest = sha256(text).digest()[:_ID_LENGTH]
        return "".join(_ID_CHARACTERS[byte % len(_ID_CHARACTERS)] for byte in digest)

    return new_id
