"""`/save` and `/load`: the files of a chat."""

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.cli import console

if TYPE_CHECKING:
    from litgpt.chat import Chat, SavedChat

_FORCE = "--force"


@attrs.define
class ChatFiles:
    """Saves and loads conversations.

    Attributes:
        saved_paths: The files that this chat was loaded from or saved to, which it may replace.

    """

    saved_paths: set[Path] = attrs.field(factory=set)

    def save(self, chat: "Chat", text: str) -> None:
        """Save a conversation; another one in the file is replaced only with `--force`.

        Args:
            chat: The conversation.
            text: What follows `/save`.

        Raises:
            WouldOverwrite: The file holds another conversation, or something else.
            OutOfReach: It cannot be written there.

        """
        from litgpt.domain.overwrite_check import WouldOverwrite
        from litgpt.domain.validators import local_path

        force = text.split()[:1] == [_FORCE]
        name = text.removeprefix(_FORCE).strip() if force else text
        if not name:
            console.note("Where to? /save FILE")
            return
        path = local_path("path", name)
        try:
            chat.save(path, overwrite=force or path in self.saved_paths)
        except WouldOverwrite as error:
            error.remedy = f"Use /save --force {name} to replace it, or choose another path."
            raise
        self.saved_paths.add(path)
        console.note(f"(Saved to {name}.)")

    def load(self, text: str) -> "SavedChat | None":
        """Return a saved conversation; None, with an explanation, if no file is named.

        Raises:
            MissingFile: The file does not exist.
            DamagedFile: It is not a saved chat.

        """
        from litgpt.chat import read_chat
        from litgpt.domain.validators import local_path

        if not text:
            console.note("From where? /load FILE")
            return None
        path = local_path("path", text)
        saved = read_chat(path)
        self.saved_paths.add(path)
        return saved
