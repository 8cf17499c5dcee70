"""Edit a message in the user's editor, `$VISUAL` or `$EDITOR`, as git does for commit messages."""

import os
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path

from litgpt.cli import console

NO_EDITOR_HINT = "(Set $VISUAL or $EDITOR to edit messages in an editor, such as: export EDITOR=nano.)"
UNCHANGED_HINT = (
    "(The message is unchanged. An editor that returns at once needs an option, such as code --wait.)"
)


def editor_command() -> str:
    """Return the command of the user's editor; empty if none is set."""
    return os.environ.get("VISUAL", "").strip() or os.environ.get("EDITOR", "").strip()


def edit_text(text: str, command: str) -> str | None:
    """Open a text in an editor and return the edited text.

    It is empty if it was unchanged, and None if the editor failed; a message on stderr explains both.
    """
    with tempfile.TemporaryDirectory(prefix="litgpt-") as folder:  # only readable by this user
        path = Path(folder) / "message.md"
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        try:
            status = _run([*shlex.split(command), str(path)])
        except (OSError, ValueError) as error:  # ValueError: an unclosed quote
            reason = getattr(error, "strerror", None) or error
            console.error(f"The editor {command!r} of $VISUAL or $EDITOR cannot be started: {reason}.")
            return None
        if status:
            console.error(f"The editor {command!r} ended with status {status}.")
            return None
        changed = path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    if changed and changed != text.strip():
        return changed
    console.note(UNCHANGED_HINT if changed else "(The message is empty; nothing is sent.)")
    return ""


def _run(command: list[str]) -> int:
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the editor
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - the user's own command
    finally:
        signal.signal(signal.SIGINT, before)
