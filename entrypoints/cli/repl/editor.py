"""A message in the user's own editor, `$VISUAL` or `$EDITOR`, as git opens a commit message."""

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
    """Return a text as the user leaves it in the editor.

    Args:
        text: What to open; may be empty.
        command: The editor with its options, split as a shell does.

    Returns:
        The new text; empty, with an explanation, if there is none; None, with another, if the editor fails.

    """
    with tempfile.TemporaryDirectory(prefix="litgpt-") as folder:  # readable by this user only
        path = Path(folder) / "message.md"
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        try:
            status = _run([*shlex.split(command), str(path)])
        except (OSError, ValueError) as error:  # ValueError: a quote that is not closed
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
    before = signal.signal(signal.SIGINT, lambda *_: None)  # a Ctrl-C is the editor's
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - the user's own command
    finally:
        signal.signal(signal.SIGINT, before)
