"""Inputs of a chat template besides the messages: tools and variables."""

from collections.abc import Mapping
from typing import Any

import attrs

from litgpt.domain.chat.tool_schemas import parse_tools
from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.validation.json_values import json_value

_RESERVED: Mapping[str, str] = {
    "messages": "the prompt",
    "conversation": "the prompt",
    "tools": "the argument tools",
    "add_generation_prompt": "set for each prompt by the library",
    "continue_final_message": "the argument continue_final_message",
    "tokenize": "an option of transformers, without a meaning here",
    "chat_template": "a part of the tokenizer; set prompt_style for another format",
}


def _variables(value: object) -> dict[str, Any]:
    """Check `chat_template_kwargs` and return a copy of it."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise WrongType("chat_template_kwargs", value, "a dict such as {'enable_thinking': False}")
    for name in value:
        if name in _RESERVED:
            raise InvalidArgument(
                "chat_template_kwargs", name, f"free of {name!r}, which is {_RESERVED[name]}"
            )
    variables: dict[str, Any] = json_value("chat_template_kwargs", value)
    documents = variables.get("documents")
    if documents is not None and not (
        isinstance(documents, list) and all(isinstance(document, dict) for document in documents)
    ):
        raise WrongType(
            "chat_template_kwargs['documents']", documents, "a list of dicts with 'title' and 'text'"
        )
    return variables


@attrs.frozen(kw_only=True)
class TemplateOptions:
    """Inputs of a chat template besides the messages.

    Attributes:
        tools: JSON schemas of the tools that the model may call; Python functions are converted to them. None
            renders a prompt without tools.
        variables: Further variables by name: `enable_thinking`, `reasoning_effort`, `documents`, …, which
            callers know as `chat_template_kwargs`.
        continue_final_message: Whether the prompt ends within the last message, which the model continues.
            A string names the field to continue in place of `content`, such as `reasoning_content`.
    """

    tools: tuple[dict[str, Any], ...] | None = attrs.field(default=None, converter=parse_tools)
    variables: Mapping[str, Any] = attrs.field(default=None, converter=_variables)
    continue_final_message: bool | str = attrs.field(default=False)

    __repr__ = brief_repr

    @continue_final_message.validator
    def _is_flag_or_field(self, _: object, value: object) -> None:
        if not isinstance(value, (bool, str)) or value == "":
            raise WrongType("continue_final_message", value, "True, False or the name of a field")


NO_TEMPLATE_OPTIONS = TemplateOptions()
