"""`/save` and `/load`: conversations in files."""

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.cli import console

if TYPE_CHECKING:
    from litgpt.chat import SavedChat
    from litgpt.cli.repl.chat_protocol import Conversation

_FORCE = "--force"


@attrs.define
class ChatFiles:
    """Saves and loads conversations; its own `saved_paths` are overwritten without `--force`."""

    saved_paths: set[Path] = attrs.field(factory=set)

    def save(self, chat: "Conversation", text: str) -> None:
        """Save a conversation; a file of another one is overwritten only with `--force`."""
        from litgpt.domain.overwrite_check import WouldOverwrite
        from litgpt.domain.validators import local_path

        force = text.split()[:1] == [_FORCE]
        name = text.removeprefix(_FORCE).strip() if force else text
        if not name:
            console.note("Usage: /save FILE")
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
        """Return a saved conversation; if `text` is empty, show a hint and return None."""
        from litgpt.chat import read_chat
        from litgpt.domain.validators import local_path

        if not text:
            console.note("Usage: /load FILE")
            return None
        path = local_path("path", text)
        saved = read_chat(path)
        self.saved_paths.add(path)
        return saved
