"""A chat in a real terminal with prompt_toolkit: pastes, Ctrl-C, typed-ahead text, history."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.entrypoints.templated_model import templated_folder

if sys.platform == "win32":
    pytest.skip("needs a POSIX terminal", allow_module_level=True)

import pexpect

PROMPT = r"(?s)2004h(\x1b\[\?1l)?\x1b\[\?25l.*?\x1b\[\?25h"  # the editor has drawn its line


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def terminal(state: Path) -> Iterator["pexpect.spawn[str]"]:
    command = ["-m", "litgpt.cli", "chat", str(templated_folder()), "--max-new-tokens", "8", "--seed", "1"]
    environment = os.environ | {
        "XDG_STATE_HOME": str(state),
        "TERM": "xterm",
        "NO_COLOR": "1",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    child = pexpect.spawn(sys.executable, command, env=environment, encoding="utf-8", timeout=20)
    child.expect("Ctrl-D quits")
    child.expect(PROMPT)
    yield child
    child.close(force=True)


def test_a_chat_survives_its_user(terminal: "pexpect.spawn[str]", state: Path, tmp_path: Path) -> None:
    terminal.send("\x1b[200~first line\nsecond line\n/exit\x1b[201~\r")
    terminal.expect(r"s to the first token\)")
    terminal.expect(PROMPT)

    terminal.send("half typed\x03")
    terminal.send("/save " + str(tmp_path / "talk.json") + "\r")
    terminal.expect(r"\(Saved to")
    saved = (tmp_path / "talk.json").read_text(encoding="utf-8")
    assert saved.count('"role": "user"') == 1
    assert r"first line\nsecond line\n/exit" in saved
    terminal.expect(PROMPT)

    history = state / "litgpt" / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+second line" in history.read_text(encoding="utf-8")

    terminal.send("\x03")
    terminal.expect("Press Ctrl-C again")
    terminal.expect(PROMPT)
    terminal.send("\x03")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
