"""Terminal input and output of all commands.

Results are written to stdout, notes and errors to stderr. Colors and transient lines are only used on
terminals; NO_COLOR is respected. Control characters in model output and file names are replaced.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Self, TextIO

import typer

from litgpt.domain.formatting.redaction import redact
from litgpt.process_rank import is_first_process

BROKEN_PIPE = 141
"""Exit status after a broken pipe, by the convention of shells: 128 + SIGPIPE."""

_BOLD, _DIM, _RED = "1", "2", "1;31"
# C0 and C1 control characters, which include the introducers of escape sequences, except tab and newline.
_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10}, "\N{REPLACEMENT CHARACTER}")


def show(text: str, end: str = "\n") -> None:
    """Write text to stdout and flush; pass `end=""` for chunks of a streamed answer."""
    _to_stdout(_escape_controls(text, sys.stdout) + end)


def show_rendered(text: str, render: Callable[[str], str]) -> None:
    """Write `render(text)` to stdout; `render` may add escape sequences."""
    _to_stdout(render(_escape_controls(text, sys.stdout)))


def heading(text: str) -> None:
    """Write a line to stdout, in bold on a terminal."""
    _to_stdout(_styled(text, sys.stdout, _BOLD) + "\n")


def table(rows: Sequence[Sequence[str]], *, indent: int = 0, numbers: bool = False) -> None:
    """Write a table to stdout; `numbers` aligns all columns but the first to the right."""
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
    """Write a note to stderr."""
    if is_first_process():
        print(_styled(redact(text), sys.stderr, _DIM), file=sys.stderr, flush=True)


def error(text: str) -> None:
    """Write an error message to stderr, as one line."""
    line = _escape_controls(" ".join(redact(text).split()), sys.stderr)
    print(_styled("error:", sys.stderr, _RED), line, file=sys.stderr, flush=True)


def ask(prompt: str, prefilled: str = "") -> str:
    """Return the next line of stdin; on a terminal, the user can edit it.

    The prompt is shown only on a terminal; `prefilled` is the initial line, where readline is available.
    """
    if stdin_is_terminal() and stdout_is_terminal():
        with suppress(ImportError):  # not on Windows
            import readline  # adds line editing and a history to input()

            def prefill() -> None:
                readline.insert_text(prefilled)
                readline.redisplay()

            readline.set_pre_input_hook(prefill if prefilled else None)
        return input(prompt)
    if stdin_is_terminal():
        print(prompt, end="", file=sys.stderr, flush=True)
    if sys.stdin is not None and (line := sys.stdin.readline()):
        return line.removesuffix("\n")
    raise EOFError


def history_length() -> int:
    """Return the length of the readline history; 0 without readline."""
    readline = sys.modules.get("readline")
    return readline.get_current_history_length() if readline is not None else 0


def merge_history(start: int, text: str) -> None:
    """Replace the entries of the readline history after `start` with one multi-line message."""
    if history_length() <= start:
        return
    import readline

    while history_length() > start:
        readline.remove_history_item(history_length() - 1)
    readline.add_history(text)


def pending_input() -> str:
    """Return the unfinished line after Ctrl-C interrupted `ask`; empty without readline."""
    if stdout_is_terminal() and (readline := sys.modules.get("readline")) is not None:
        return str(readline.get_line_buffer())
    return ""


def mark_pastes(enabled: bool) -> None:  # noqa: FBT001 - a switch
    """Switch the bracketed paste mode of the terminal on or off."""
    print("\x1b[?2004h" if enabled else "\x1b[?2004l", end="", flush=True)


def read_all() -> str:
    """Return all of stdin, without a trailing newline."""
    return "" if sys.stdin is None else sys.stdin.read().removesuffix("\n")


def stdin_is_terminal() -> bool:
    """Return whether stdin is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def stdout_is_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def supports_styles() -> bool:
    """Return whether stdout supports bold text and colors, and NO_COLOR is not set."""
    return _has_styles(sys.stdout)


def stderr_is_terminal() -> bool:
    """Return whether stderr is a terminal."""
    return sys.stderr.isatty()


class TransientLine:
    """A status line on stderr that is removed at the end of the `with` block; only on a terminal."""

    def __init__(self, text: str, *, quiet: bool = False) -> None:
        self.text = text
        self.is_quiet = quiet
        self._shown = 0

    def show(self) -> None:
        self.hide()
        if self.text and not self.is_quiet and stderr_is_terminal():
            line = redact(self.text)[: shutil.get_terminal_size().columns - 1]
            self._shown = len(line)
            print(_styled(line, sys.stderr, _DIM), end="\r", file=sys.stderr, flush=True)

    def hide(self) -> None:
        if self._shown:
            print(" " * self._shown, end="\r", file=sys.stderr, flush=True)
            self._shown = 0

    def __enter__(self) -> Self:
        self.show()
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()


def _to_stdout(text: str) -> None:
    if not is_first_process():
        return
    try:
        print(text, end="", flush=True)
    except BrokenPipeError as error:
        # Discard the rest of the buffer: Python would report a second error when it flushes it at exit.
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
    return os.name != "nt" or "WT_SESSION" in os.environ  # older consoles print the codes
