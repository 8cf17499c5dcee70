"""How a chat begins: with a system prompt, or with a conversation from a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.cli.repl.chat_files import ChatFiles

if TYPE_CHECKING:
    from litgpt.chat import SavedChat
    from litgpt.domain.chat.messages import Message


@attrs.frozen
class Opening:
    """The options --sys-prompt and --resume.

    Raises:
        InvalidArgument: The path of `resume` is not valid.
        MissingFile: Its file does not exist.
        CorruptFile: It is not a saved chat.
    """

    sys_prompt: str | None = None
    resume: str | None = None
    saved: "SavedChat | None" = attrs.field(init=False)

    @saved.default
    def _read(self) -> "SavedChat | None":
        if self.resume is None:
            return None
        from litgpt.chat import read_chat

        return read_chat(self.resume)

    @property
    def messages(self) -> "list[Message] | None":
        """The messages of the file; None without one."""
        return None if self.saved is None else self.saved.messages

    @property
    def files(self) -> ChatFiles:
        """The files of the chat, of which the one that was read may be replaced."""
        return ChatFiles(set() if self.resume is None else {Path(self.resume)})
