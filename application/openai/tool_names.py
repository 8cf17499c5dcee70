"""The names of tools in requests, by OpenAI's rule."""

import re
from typing import Any

from litgpt.domain.errors import InvalidArgument

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_tool_name(field: str, name: str) -> None:
    """Check the name of a tool, which is the value of `field`.

    Raises:
        InvalidArgument: It has other characters, or has not 1 to 64 of them.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidArgument(field, name, "1 to 64 letters, digits, underscores and hyphens")


def check_tool_names(tools: Any) -> None:
    """Check the names of the functions in `tools` of a chat; values of another form are left to the chat.

    Raises:
        InvalidArgument: A name is not valid.
    """
    for number, tool in enumerate(tools if isinstance(tools, list) else ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            check_tool_name(f"tools[{number}].function.name", name)
