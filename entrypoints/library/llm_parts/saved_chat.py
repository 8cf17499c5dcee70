"""Read and write the files of `Chat.save`."""

import json
from pathlib import Path
from typing import Any

import attrs

from litgpt.application.files.atomic_write import atomic_write
from litgpt.domain.chat.messages import Message, parse_messages
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import CorruptFile, LitGPTError, UnsupportedOperation
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.overwrite_check import WouldOverwrite
from litgpt.domain.validation.untrusted_files import error_message, printable, read_json_file
from litgpt.domain.validators import local_path

_REMEDY = """Pass a file that Chat.save wrote, or a JSON list such as [{"role": "user", "content": "Hi"}]."""


@attrs.frozen
class SavedChat:
    """A conversation in a file.

    Attributes:
        messages: The messages.
        tools: JSON schemas of the tools that the model may call.
        chat_template_kwargs: Further variables of the chat template.
    """

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    __repr__ = brief_repr


def write_chat(path: Path, chat: SavedChat, *, overwrite: bool) -> None:
    """Write a conversation to a file atomically.

    Args:
        path: The file.
        chat: The conversation.
        overwrite: Whether to replace a file that is not a prefix of the conversation.

    Raises:
        WouldOverwrite: The file has other content, and `overwrite` is False.
        UnsupportedOperation: The file cannot be written.
    """
    saved: dict[str, Any] = {"messages": [one.as_dict() for one in chat.messages]}
    saved |= {
        name: value
        for name in ("tools", "chat_template_kwargs")
        if (value := getattr(chat, name)) is not None
    }
    try:
        if not overwrite and path.is_file():
            _check_overwrite(path, chat.messages)
        atomic_write(path, json.dumps(saved, ensure_ascii=False, indent=1).encode())
    except WouldOverwrite:
        raise
    except (OSError, ValueError) as error:  # the latter for text that UTF-8 cannot encode
        raise UnsupportedOperation(
            f"Saving the chat to {printable(path)}", f"{error_message(error)}. Choose another path."
        ) from error


def _check_overwrite(path: Path, messages: list[Message]) -> None:
    """Reject a file whose content is not a prefix of the conversation."""
    try:
        there = read_chat(path).messages
    except LitGPTError as error:
        raise WouldOverwrite(str(path), "a file that is not a saved chat") from error
    if there != messages[: len(there)]:
        raise WouldOverwrite(str(path), "a different conversation")


def read_chat(path: str | Path) -> SavedChat:
    """Read a file written by `Chat.save`, or a JSON list of messages.

    Raises:
        InvalidArgument: The path is not valid.
        MissingFile: The file does not exist.
        CorruptFile: The file is not a saved chat.
    """
    path = local_path("path", path)
    saved = read_json_file(path, remedy=_REMEDY)
    try:
        if isinstance(saved, list):
            saved = {"messages": saved}
        said = list(parse_messages(saved["messages"])) if saved["messages"] else []
        options = TemplateOptions(tools=saved.get("tools"), variables=saved.get("chat_template_kwargs"))
        return SavedChat(said, saved.get("tools"), dict(options.variables) or None)
    except LitGPTError as error:
        raise CorruptFile(str(path), f"it is not a saved chat: {error}", _REMEDY) from error
    except Exception as error:
        raise CorruptFile(str(path), "it is not a saved chat or a list of messages.", _REMEDY) from error
