"""Tests of a chat in a terminal, with and without prompt_toolkit: pastes, Ctrl-C, typeahead, history."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from litgpt.cli import console
from litgpt.cli.repl import keyboard
from litgpt.cli.repl.keyboard import Keyboard
from tests.entrypoints import chat_program
from tests.entrypoints.keyboard import wait_until_it_reads

if sys.platform == "win32":
    pytest.skip("needs a POSIX terminal", allow_module_level=True)

import pexpect

from tests.entrypoints.shell import PROMPT, kill

ANSWERED = r"s to the first token\)"
CONTINUED = r"(?s)….*?\x1b\[\?25h"
EDITOR = """
import sys
from pathlib import Path
text = Path(sys.argv[-1])
text.with_name("x").touch()
assert sys.argv[1] == "two words"
text.write_text(text.read_text() + " changed\\n")
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> str:
    script = tmp_path_factory.mktemp("editor") / "editor.py"
    script.write_text(EDITOR, encoding="utf-8")
    return f"'{sys.executable}' '{script}' 'two words'"


def spawned(state: Path, *arguments: str, **variables: str) -> "pexpect.spawn[str]":
    environment: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if name not in {"VISUAL", "EDITOR", "NO_COLOR"}},
        "XDG_STATE_HOME": str(state),
        "TERM": "xterm",
        "PROMPT_TOOLKIT_NO_CPR": "1",
        **variables,
    }
    command = ["-W", "ignore", str(chat_program.__file__), *arguments]
    child = pexpect.spawn(
        sys.executable, command, env=environment, encoding="utf-8", timeout=300, dimensions=(40, 160)
    )
    child.expect("Ctrl-D quits")
    return child


@pytest.fixture(scope="module")
def terminal(state: Path, editor: str) -> Iterator["pexpect.spawn[str]"]:
    child = spawned(state, NO_COLOR="1", EDITOR=editor)
    child.expect(PROMPT)
    yield child
    kill(child)


def run(terminal: "pexpect.spawn[str]", keys: str, expected: str) -> str:
    """Type, wait for the expected text and for the next prompt, and return the output."""
    terminal.send(keys)
    terminal.expect(expected)
    output = str(terminal.before) + str(terminal.after)
    terminal.expect(PROMPT)
    return output + str(terminal.before) + str(terminal.after)


def users(terminal: "pexpect.spawn[str]", path: Path) -> list[str]:
    """Return the user's messages, as the chat saves them, and start a new conversation."""
    run(terminal, f"/save {path}\r", r"\(Saved to")
    run(terminal, "/clear\r", r"\(Started a new conversation")
    messages = json.loads(path.read_text(encoding="utf-8"))["messages"]
    return [message["content"] for message in messages if message["role"] == "user"]


def test_a_paste_is_one_message_and_ctrl_c_clears_a_half_typed_line(
    terminal: "pexpect.spawn[str]", state: Path, tmp_path: Path
) -> None:
    run(terminal, "\x1b[200~first line\nsecond line\n/exit\x1b[201~\r", ANSWERED)
    terminal.send("half typed\x03")
    assert users(terminal, tmp_path / "talk.json") == ["first line\nsecond line\n/exit"]
    history = state / "litgpt" / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+second line" in history.read_text(encoding="utf-8")


def test_typeahead_during_an_answer_waits_for_the_next_prompt(
    terminal: "pexpect.spawn[str]", tmp_path: Path
) -> None:
    run(terminal, "/set max_new_tokens 100\r", r"\(Set")
    terminal.send("a long answer\r")
    terminal.expect("on and on on and on")
    terminal.send("typed ahead")
    terminal.expect(ANSWERED)
    assert "typed ahead" not in str(terminal.before)
    terminal.expect("typed ahead")
    run(terminal, "\r", ANSWERED)
    run(terminal, "/set max_new_tokens default\r", r"\(Set")
    assert users(terminal, tmp_path / "talk.json") == ["a long answer", "typed ahead"]


def test_ctrl_c_stops_an_answer_and_keeps_what_was_typed(
    terminal: "pexpect.spawn[str]", tmp_path: Path
) -> None:
    terminal.send("a long answer\r")
    terminal.expect("on and on on and on")
    terminal.send("typed")
    terminal.send("\x03")
    terminal.expect(rf"\(\d+ tokens, [\d.]+ tokens/s, [\d.]+ {ANSWERED}")
    terminal.expect(PROMPT)
    assert "Press Ctrl-C" not in str(terminal.before)
    terminal.expect("typed")
    run(terminal, " before\r", ANSWERED)
    assert users(terminal, tmp_path / "talk.json") == ["a long answer", "typed before"]


def test_a_block_of_several_lines_is_one_message(terminal: "pexpect.spawn[str]", tmp_path: Path) -> None:
    terminal.send('"""one\r')
    terminal.expect(CONTINUED)
    run(terminal, 'two"""\r', ANSWERED)
    run(terminal, "\x1b[A\r", ANSWERED)  # the history has the whole message
    terminal.send("three\\\r")
    terminal.expect(CONTINUED)
    run(terminal, "four\r", ANSWERED)
    terminal.send('"""given up\r')
    terminal.expect(CONTINUED)
    terminal.send("\x03")
    assert users(terminal, tmp_path / "talk.json") == ["one\ntwo", "one\ntwo", "three\nfour"]


def test_tab_completes_commands_and_edit_opens_the_editor(
    terminal: "pexpect.spawn[str]", tmp_path: Path
) -> None:
    run(terminal, "the llama\r", ANSWERED)
    terminal.send("/ed")
    terminal.expect("/ed")
    terminal.send("\t")
    terminal.expect("it")
    assert "> the llama changed" in run(terminal, "\r", ANSWERED)
    assert users(terminal, tmp_path / "talk.json") == ["the llama changed"]
    run(terminal, "/edit\r", ANSWERED)  # a new message
    terminal.send("typed\x18\x05")
    terminal.expect("typed changed")
    run(terminal, "\r", ANSWERED)
    assert users(terminal, tmp_path / "talk.json") == ["changed", "typed changed"]


def test_the_history_of_earlier_sessions_is_searched_and_without_an_editor_the_line_is_edited(
    terminal: "pexpect.spawn[str]", state: Path, tmp_path: Path
) -> None:
    assert terminal.isalive()
    child = spawned(state, NO_COLOR="1")
    child.expect(PROMPT)
    child.send("\x12second")  # Ctrl-R
    child.expect("second\\S* line")
    child.send("\r")
    run(child, "\r", ANSWERED)
    child.send("/edit\r")
    child.expect(r"Set \$VISUAL or \$EDITOR")
    child.expect("edit> ")
    run(child, " and more\r", ANSWERED)
    assert users(child, tmp_path / "talk.json") == ["first line\nsecond line\n/exit and more"]
    kill(child)


def test_ctrl_c_after_a_line_typed_ahead_is_complete_discards_that_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(InMemoryHistory):
        def store_string(self, string: str) -> None:
            super().store_string(string)
            if string == "typed ahead":
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(keyboard, "_history", Interrupted)
    monkeypatch.setattr(keyboard, "_can_edit", lambda: True)
    monkeypatch.setattr(console, "stdin_is_terminal", lambda: True)
    with create_pipe_input() as keys, create_app_session(keys, DummyOutput()):
        keys.send_text("typed ahead\rnext\r")
        assert Keyboard(()).read() == "next"


def test_sigint_clears_a_half_typed_line(terminal: "pexpect.spawn[str]") -> None:
    terminal.send("half typed")
    terminal.expect("half typed")
    terminal.kill(signal.SIGINT)
    terminal.expect(PROMPT)
    assert "Press Ctrl-C again" not in str(terminal.before) + str(terminal.after)
    assert "half typed" not in run(terminal, "something\r", ANSWERED)


def test_ctrl_c_on_an_empty_line_quits_the_second_time(terminal: "pexpect.spawn[str]") -> None:
    run(terminal, "\x03", "Press Ctrl-C again")
    run(terminal, "something else\r", ANSWERED)
    run(terminal, "\x03", "Press Ctrl-C again")
    terminal.send("\x03")
    terminal.expect(pexpect.EOF)
    assert terminal.wait() == 0


def test_markdown_is_shown_in_styles(state: Path) -> None:
    child = spawned(state)
    child.expect(PROMPT)
    output = run(child, "hello\r", ANSWERED)
    kill(child)
    assert "\x1b[1;4mL\x1b[0m" in output
    assert "\r\nThey eat \x1b[1mgrass\x1b[0m and \x1b[36mhay\x1b[0m." in output
    assert "• not \x1b[3mmeat\x1b[0m" in output


@pytest.fixture
def plain(state: Path, editor: str) -> Iterator["pexpect.spawn[str]"]:
    child = spawned(state, "--plain", TERM="dumb", VISUAL="no-such-editor", EDITOR=editor)
    child.expect("> ")
    yield child
    kill(child)


def interrupt(child: "pexpect.spawn[str]") -> None:
    wait_until_it_reads(child.pid)
    child.send("\x03")


def test_without_the_editor_lines_are_plain_and_the_same_keys_work(
    plain: "pexpect.spawn[str]", tmp_path: Path
) -> None:
    plain.send("half typed")
    plain.expect("half typed")
    interrupt(plain)
    plain.expect("> ")
    assert "Press Ctrl-C again" not in str(plain.before)
    plain.send("a long answer\n")
    plain.expect("on and on on and on")
    plain.send("typed\x03")
    plain.expect(rf"\(\d+ tokens, .*{ANSWERED}")
    plain.expect("> ")
    plain.send(" before\n")
    plain.expect(ANSWERED)
    plain.expect("> ")
    plain.send(f"/save {tmp_path / 'stopped.json'}\n")
    plain.expect(r"\(Saved to")
    assert '"typed before"' in (tmp_path / "stopped.json").read_text(encoding="utf-8")
    plain.expect("> ")
    plain.send('"""one\n')
    plain.expect("… ")
    plain.send('two"""\n')
    plain.expect(r"# Llamas\r\nThey eat \*\*grass\*\*")
    plain.expect(ANSWERED)
    plain.expect("> ")
    plain.send("\x1b[A\n")  # the history has the whole message
    plain.expect(ANSWERED)
    plain.expect("> ")
    plain.send("/edit\n")
    plain.expect("error: The editor 'no-such-editor' of .* cannot be started: No such file or directory")
    plain.expect("edit> .*one.*two")
    interrupt(plain)
    plain.expect("> ")
    plain.send(f"/save {tmp_path / 'talk.json'}\n")
    plain.expect(r"\(Saved to")
    assert (tmp_path / "talk.json").read_text(encoding="utf-8").count(r'"one\ntwo"') == 2
    plain.expect("> ")
    interrupt(plain)
    plain.expect("Press Ctrl-C again")
    plain.expect("> ")
    interrupt(plain)
    plain.expect(pexpect.EOF)
    assert plain.wait() == 0
