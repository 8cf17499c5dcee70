"""Everything that the commands show or ask: the one place that prints.

Answers go to stdout, and all that is said about them to stderr. Colors, and lines that come and go, are for
terminals; NO_COLOR is respected. What a model says, or a file calls itself, cannot give a terminal commands.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TextIO

import typer

from litgpt.domain.formatting.redaction import redact
from litgpt.process_rank import is_first_process

BROKEN_PIPE = 141
"""The exit status of a program whose reader went away, as shells know it: 128 + SIGPIPE."""

_BOLD, _DIM, _RED = "1", "2", "1;31"
# Control characters, among them those that begin a terminal's commands; not tab and newline.
_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10}, "\N{REPLACEMENT CHARACTER}")


def show(text: str, end: str = "\n") -> None:
    """Write to stdout, at once; a piece of a streamed answer has no `end`.

    Raises:
        typer.Exit: Nobody reads any more.

    """
    _to_stdout(_escape_controls(text, sys.stdout) + end)


def show_rendered(text: str, render: Callable[[str], str]) -> None:
    """Write a piece of an answer to stdout as `render` makes it, which may add terminal codes of its own.

    Raises:
        typer.Exit: Nobody reads any more.

    """
    _to_stdout(render(_escape_controls(text, sys.stdout)))


def heading(text: str) -> None:
    """Write a line to stdout that stands out on a terminal."""
    _to_stdout(_styled(text, sys.stdout, _BOLD) + "\n")


def table(rows: Sequence[Sequence[str]], *, indent: int = 0, numbers: bool = False) -> None:
    """Write a table to stdout; the columns `numbers` are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if numbers and column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        show(f"{' ' * indent}{'   '.join(cells)}".rstrip())


def show_json(value: object) -> None:
    """Write a value to stdout as JSON."""
    show(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def note(text: str) -> None:
    """Write a remark to stderr."""
    if is_first_process():
        print(_styled(redact(text), sys.stderr, _DIM), file=sys.stderr, flush=True)


def error(text: str) -> None:
    """Write what went wrong to stderr, as one line."""
    line = _escape_controls(" ".join(redact(text).split()), sys.stderr)
    print(_styled("error:", sys.stderr, _RED), line, file=sys.stderr, flush=True)


def ask(prompt: str, prefilled: str = "") -> str:
    """Return a line that the user types, or the next line of stdin.

    Args:
        prompt: What stands before it.
        prefilled: A text to change, where lines can be edited.

    Raises:
        EOFError: There is none.

    """
    if stdin_is_terminal() and stdout_is_terminal():
        with suppress(ImportError):  # not on Windows
            import readline  # input() then edits lines and remembers them

            def prefill() -> None:
                readline.insert_text(prefilled)
                readline.redisplay()

            readline.set_pre_input_hook(prefill if prefilled else None)
        return input(prompt)
    if stdin_is_terminal():
        print(prompt, end="", file=sys.stderr, flush=True)
    if line := sys.stdin.readline():
        return line.removesuffix("\n")
    raise EOFError


def history_length() -> int:
    """Return the number of lines that readline remembers; 0 without readline."""
    readline = sys.modules.get("readline")
    return readline.get_current_history_length() if readline is not None else 0


def merge_history(start: int, text: str) -> None:
    """Replace the lines of the readline history after `start` by the message that they form."""
    if history_length() <= start:
        return
    import readline

    while history_length() > start:
        readline.remove_history_item(history_length() - 1)
    readline.add_history(text)


def pending_input() -> str:
    """Return what was typed of a line when Ctrl-C interrupted `ask`, where readline edits lines."""
    if stdout_is_terminal() and (readline := sys.modules.get("readline")) is not None:
        return str(readline.get_line_buffer())
    return ""


def mark_pastes(wanted: bool) -> None:  # noqa: FBT001 - on or off
    """Have the terminal mark what is pasted (bracketed paste), as a line editor does at its prompt."""
    print("\x1b[?2004h" if wanted else "\x1b[?2004l", end="", flush=True)


def read_all() -> str:
    """Return all of stdin, without the newline that it ends with."""
    return sys.stdin.read().removesuffix("\n")


def stdin_is_terminal() -> bool:
    """Return whether a person types at a terminal."""
    return sys.stdin.isatty()


def stdout_is_terminal() -> bool:
    """Return whether a person sees stdout as it is written."""
    return sys.stdout.isatty()


def supports_styles() -> bool:
    """Return whether stdout can show bold text and colors, and the user wants them."""
    return _has_styles(sys.stdout)


def stderr_is_terminal() -> bool:
    """Return whether a person sees stderr as it is written."""
    return sys.stderr.isatty()


class TransientLine:
    """A line on stderr for as long as something takes: only on a terminal, and gone afterwards.

    Attributes:
        text: What is waited for.
        is_quiet: Whether nothing is to be shown.

    """

    def __init__(self, text: str, *, quiet: bool = False) -> None:
        self.text = text
        self.is_quiet = quiet
        self._shown = 0

    def show(self) -> None:
        """Show the line, in place of what was shown."""
        self.hide()
        if self.text and not self.is_quiet and stderr_is_terminal():
            line = redact(self.text)[: shutil.get_terminal_size().columns - 1]
            self._shown = len(line)
            print(_styled(line, sys.stderr, _DIM), end="\r", file=sys.stderr, flush=True)

    def hide(self) -> None:
        """Take the line away."""
        if self._shown:
            print(" " * self._shown, end="\r", file=sys.stderr, flush=True)
            self._shown = 0

    def __enter__(self) -> Self:
        self.show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hide()


def _to_stdout(text: str) -> None:
    if not is_first_process():
        return
    try:
        print(text, end="", flush=True)
    except BrokenPipeError as error:
        # What is still in the buffer goes nowhere, or Python would complain about it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from error


def _escape_controls(text: str, stream: TextIO) -> str:
    return text.translate(_CONTROLS) if stream.isatty() else text


def _styled(text: str, stream: TextIO, style: str) -> str:
    text = _escape_controls(text, stream)
    return f"\x1b[{style}m{text}\x1b[0m" if _has_styles(stream) else text


def _has_styles(stream: TextIO) -> bool:
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return os.name != "nt" or "WT_SESSION" in os.environ  # an older Windows console would show the codes
