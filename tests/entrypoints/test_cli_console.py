"""Tests of the output to terminals and pipes."""

import io
import sys

import pytest

from litgpt.cli import console
from litgpt.cli.model_loading import StatusLine
from litgpt.domain.progress import Notice, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch, stream: str) -> Terminal:
    """Replace a stream by a terminal, until the test ends or undoes it."""
    for name, value in {"TERM": "xterm", "WT_SESSION": "1", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    put = Terminal()
    monkeypatch.setattr(sys, stream, put)
    return put


def test_an_error_is_one_line_with_color_only_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = terminal(monkeypatch, "stderr")
    console.error("two\n  lines")
    assert stderr.getvalue() == "\x1b[1;31merror:\x1b[0m two lines\n"
    monkeypatch.undo()
    console.error("two\n  lines")
    assert capsys.readouterr().err == "error: two lines\n"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colors_can_be_disabled(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    stderr = terminal(monkeypatch, "stderr")
    monkeypatch.setenv(variable, value)
    console.note("hello")
    assert stderr.getvalue() == "hello\n"


HOSTILE = "title\x1b]0;owned\x07 \x9b2J\rline\n\tnext"


def test_a_model_gives_a_terminal_no_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = terminal(monkeypatch, "stdout")
    console.show(HOSTILE)
    assert stdout.getvalue() == "title�]0;owned� �2J�line\n\tnext\n"


def test_a_pipe_gets_the_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.show(HOSTILE, end="")
    assert capsys.readouterr().out == HOSTILE


def test_a_name_in_an_error_gives_a_terminal_no_commands_either(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = terminal(monkeypatch, "stderr")
    console.error("no model \x1b[2J")
    console.note("no model \x1b[2J")
    assert "\x1b[2J" not in stderr.getvalue()


def shown(raw: str) -> list[str]:
    """Return the last line of a terminal after each carriage return."""
    line, states = "", []
    for part in raw.split("\r"):
        line = part + line[len(part) :]
        states.append(line.rstrip())
    return states


def test_a_line_for_the_time_of_waiting_is_gone_afterwards_and_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = terminal(monkeypatch, "stderr")
    monkeypatch.setenv("NO_COLOR", "1")
    with console.TransientLine("Loading a model with a name that is too long for this terminal …"):
        assert shown(stderr.getvalue())[0] == "Loading a model with a name that is too"
    assert shown(stderr.getvalue())[-1] == ""


def test_no_wait_line_is_shown_in_a_pipe_or_with_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = terminal(monkeypatch, "stderr")
    with console.TransientLine("Loading …", quiet=True):
        assert stderr.getvalue() == ""
    monkeypatch.undo()
    with console.TransientLine("Loading …"):
        assert capsys.readouterr().err == ""


def test_a_log_has_notices_and_no_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        with StatusLine("Working …", quiet=False) as work:
            work.report(Notice("It begins."))
            for done in range(3):
                work.report(Progress("file", done, 2, unit="B"))

    work()
    assert capsys.readouterr().err == "It begins.\n"
    stderr = terminal(monkeypatch, "stderr")
    work()
    assert "file: 100%" in stderr.getvalue()


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    console.table([("a", "1 MB", "x"), ("bbb", "10 MB", "")], indent=2)
    assert capsys.readouterr().out == "  a     1 MB    x\n  bbb   10 MB\n"
    console.table([("", "one"), ("bbb", "1")], numbers=True)
    assert capsys.readouterr().out == "      one\nbbb     1\n"


def test_lines_come_from_stdin_until_there_are_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\nlast"))
    assert [console.ask("> ") for _ in range(3)] == ["one", "", "last"]
    with pytest.raises(EOFError):
        console.ask("> ")
