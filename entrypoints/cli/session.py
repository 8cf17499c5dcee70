"""A conversation at the keyboard, or along a pipe: a line is a message, and what begins with / is for us."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from litgpt.cli import console
from litgpt.cli.typed import readable

if TYPE_CHECKING:
    from types import FrameType

    from litgpt.chat import Chat, Said

HELP = """\
/system TEXT  begin again, with TEXT as what the system says
/reset        begin again
/save FILE    write what was said to a file, which --resume reads
/tool TEXT    send TEXT as the result of a tool that was called
/help         show this
/exit         leave; so do Ctrl-D, and Ctrl-C when no answer is coming
Ctrl-C stops an answer. A \\ at the end of a line goes on with the next one."""


@attrs.define
class Session:
    """A conversation that goes on until the user has had enough.

    Attributes:
        begin: Begins another conversation, with what the system says first.
        chat: The present one.
        failed: Whether a message got no answer.

    """

    begin: "Callable[[str | None], Chat]"
    chat: "Chat"
    failed: bool = attrs.field(default=False, init=False)

    def run(self) -> None:
        """Answer message by message, until there are no more."""
        from litgpt.domain.errors import LitGPTError

        while (line := _next_line()) is not None and line.split() not in (["/exit"], ["/quit"]):
            try:
                self.take(line)
            except LitGPTError as error:  # such as a text that is too long: the conversation goes on
                self.failed = True
                console.error(str(error))
                if self.chat.messages:
                    console.note("(/reset begins again.)")

    def take(self, line: str) -> None:
        """Answer a message, or do what a command says; a space before it makes a message of a command."""
        command, _, rest = line.partition(" ") if line.startswith("/") else ("", "", line)
        text = rest.strip()
        match command:
            case "" if text:
                self._answer(text)
            case "":
                pass
            case "/help":
                console.note(HELP)
            case "/reset":
                self._begin_again(self._system_prompt())
            case "/system":
                self._begin_again(text or None)
            case "/tool" if text:
                self._answer({"role": "tool", "content": text})
            case "/tool":
                console.note("Which result? /tool TEXT")
            case "/save":
                self._save(text)
            case _:
                console.note(f"There is no {command}; see /help. With a space before it, the model is told.")

    def _answer(self, message: "Said") -> None:
        if not console.at_a_keyboard():  # where a Ctrl-C is to end more than this answer
            self._show(message, stopped=lambda: False)
            return
        try:
            with _interruptions() as stopped:
                self._show(message, stopped)
        except KeyboardInterrupt:
            self.chat.close()  # in the middle of a computation, of which then nothing is kept
            console.show("")

    def _show(self, message: "Said", stopped: Callable[[], bool]) -> None:
        for piece in self.chat.stream(message):
            console.show(piece, end="")
            if stopped():
                break
        console.show("")

    def _system_prompt(self) -> str | None:
        first = self.chat.messages[:1]
        return first[0].text if first and first[0].role == "system" else None

    def _begin_again(self, sys_prompt: str | None) -> None:
        self.chat.close()
        self.chat = self.begin(sys_prompt)
        console.note("(A new conversation.)")

    def _save(self, path: str) -> None:
        if not path:
            console.note("Where to? /save FILE")
            return
        try:
            self.chat.save(path)
        except OSError as error:
            console.error(f"{path} cannot be written: {error.strerror}.")
        else:
            console.note(f"(Saved to {path}.)")


def _next_line() -> str | None:
    """Return what is typed next; None if that is all."""
    try:
        line = console.ask("> ")
        while console.at_a_keyboard() and line.endswith("\\"):
            line = f"{line[:-1]}\n{console.ask('… ')}"
        return readable(line)
    except EOFError:
        pass
    except KeyboardInterrupt:
        if not console.at_a_keyboard():
            raise
    if console.at_a_keyboard():
        console.note("")  # the shell's prompt begins on a line of its own
    return None


@contextmanager
def _interruptions() -> Iterator[Callable[[], bool]]:
    """Let a first Ctrl-C be asked for, so that an answer ends with a whole token; a second one interrupts."""
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
