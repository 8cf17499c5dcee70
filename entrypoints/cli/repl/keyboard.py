"""Read chat messages: with line editing and a history on terminals, else as plain lines."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from litgpt.cli import console

if TYPE_CHECKING:
    from types import FrameType

    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

PROMPT = "> "
HINT = "(Press Ctrl-C again, or Ctrl-D, to quit.)"


class Keyboard:
    """Reads messages with `prompt_toolkit`, or line by line without it or without a terminal."""

    def __init__(self, commands: Sequence[str]) -> None:
        self._editor = _editor(commands) if _can_edit() else None
        self._interrupted = False

    @property
    def edits_lines(self) -> bool:
        """Whether prompt_toolkit reads the lines."""
        return self._editor is not None

    def read(self) -> str:
        """Return the next message, or its first line.

        Raises:
            EOFError: End of input, Ctrl-D, or Ctrl-C twice on an empty line.
            KeyboardInterrupt: Ctrl-C while stdin is not a terminal.
        """
        while True:
            try:
                text = self.read_more(PROMPT)
            except KeyboardInterrupt:
                if not console.stdin_is_terminal():
                    raise
                if self._unfinished():
                    self._interrupted = False
                    continue
                if self._interrupted:
                    raise EOFError from None
                self._interrupted = True
                console.note(HINT)
            else:
                self._interrupted = False
                return text

    def read_more(self, prompt: str, prefilled: str = "") -> str:
        """Return a further line, or the edited `prefilled` text."""
        try:
            return self._edited(prompt, prefilled) if self._editor else console.ask(prompt, prefilled)
        except KeyboardInterrupt:
            if console.stdin_is_terminal() and not self._editor:
                console.note("")  # ends the line with ^C
            raise

    def _unfinished(self) -> str:
        """Return the line that Ctrl-C interrupted."""
        return self._editor.default_buffer.text if self._editor else console.pending_input()

    def _edited(self, prompt: str, prefilled: str) -> str:
        assert self._editor is not None  # noqa: S101 - the caller asked
        # prompt_toolkit's handler of SIGINT loses a signal that arrives when a line typed ahead is complete.
        # Without it, asyncio raises KeyboardInterrupt.
        return self._editor.prompt(
            prompt,
            default=prefilled,
            key_bindings=self._keys(is_message=prompt == PROMPT),
            handle_sigint=False,
        )

    def _keys(self, *, is_message: bool) -> "KeyBindings":
        from prompt_toolkit.application import get_app
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()

        def goes_on() -> bool:
            text = get_app().current_buffer.text
            return is_message and (text.endswith("\\") or is_open_block(text))

        # A multi-line message stays in one buffer, so that it is one entry of the history.
        @keys.add("enter", filter=Condition(goes_on))
        def _continue(event: "KeyPressEvent") -> None:
            buffer = event.current_buffer
            if buffer.text.endswith("\\"):
                buffer.cursor_position = len(buffer.text)
                buffer.delete_before_cursor()
            buffer.insert_text("\n")

        @keys.add("escape", "enter")
        def _newline(event: "KeyPressEvent") -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        def _clear(event: "KeyPressEvent") -> None:
            if event.app.current_buffer.text:
                event.app.current_buffer.reset()
                self._interrupted = False
            else:
                event.app.exit(exception=KeyboardInterrupt)

        return keys

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Keep input typed during an answer off the screen and in the buffer for the next prompt."""
        if sys.platform == "win32" or not console.stdin_is_terminal():
            yield
            return
        import termios

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        silent = termios.tcgetattr(descriptor)
        silent[3] &= ~termios.ECHO
        silent[3] |= termios.NOFLSH  # Ctrl-C must not discard the input
        if self._editor:  # raw input, so that the editor also receives unfinished lines and pastes
            silent[3] &= ~termios.ICANON
            silent[0] &= ~termios.ICRNL
            console.mark_pastes(True)
        termios.tcsetattr(descriptor, termios.TCSANOW, silent)
        try:
            yield
        finally:
            if self._editor:
                console.mark_pastes(False)
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def is_open_block(text: str) -> bool:
    """Return whether a text starts a block with three quotes that is not closed yet."""
    return text.startswith('"""') and not (len(text) >= 6 and text.rstrip().endswith('"""'))


@contextmanager
def defer_interrupt() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed; the second Ctrl-C raises KeyboardInterrupt.

    The caller can stop after a complete token.
    """
    asked = False

    def on_interrupt(_: int, __: "FrameType | None") -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def raise_interrupt() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C raise KeyboardInterrupt at any point, where nothing has to be completed."""
    yield lambda: False


def _can_edit() -> bool:
    if not (console.stdin_is_terminal() and console.stdout_is_terminal()) or os.environ.get("TERM") in (
        None,
        "",
        "dumb",
    ):
        return False
    try:
        import prompt_toolkit  # noqa: F401 - an optional dependency
    except ImportError:
        return False
    return True


def _editor(commands: Sequence[str]) -> "PromptSession[str]":
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter

    return PromptSession(
        history=_history(),
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=False,
        prompt_continuation="… ",
        enable_open_in_editor=True,  # Ctrl-X Ctrl-E
        tempfile_suffix=".md",
    )


def _history() -> "History":
    """Return the history of all chats of this user; in memory if the file cannot be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    state = os.environ.get("XDG_STATE_HOME", "")
    folder = (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state") / "litgpt"
    path = folder / "chat_history"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600))
        path.chmod(0o600)  # messages are private
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)
