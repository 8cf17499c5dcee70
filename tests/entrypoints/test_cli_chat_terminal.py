"""A chat in a real terminal, with prompt_toolkit and without: pastes, Ctrl-C, typed-ahead text, history."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from litgpt import LLM
from tests.entrypoints.templated_model import templated_folder

if sys.platform == "win32":
    pytest.skip("needs a POSIX terminal", allow_module_level=True)

import pexpect

PROMPT = r"(?s)2004h(\x1b\[\?1l)?\x1b\[\?25l.*?\x1b\[\?25h"  # the editor has drawn its line
WITHOUT_EDITOR = """
import sys
sys.modules["prompt_toolkit"] = None
from litgpt.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "poet"
    with LLM.load(templated_folder(), quiet=True) as llm:
        llm.add_lora(rank=2)
        llm.save_adapter(folder)
    return folder


def spawned(state: Path, *start: str) -> "pexpect.spawn[str]":
    command = [*start, "chat", str(templated_folder()), "--max-new-tokens", "8", "--seed", "1"]
    environment = os.environ | {
        "XDG_STATE_HOME": str(state),
        "TERM": "xterm",
        "NO_COLOR": "1",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    child = pexpect.spawn(
        sys.executable, command, env=environment, encoding="utf-8", timeout=60, dimensions=(40, 160)
    )
    child.expect("Ctrl-D quits")
    return child


@pytest.fixture(scope="module")
def terminal(state: Path) -> Iterator["pexpect.spawn[str]"]:
    child = spawned(state, "-m", "litgpt.cli")
    child.expect(PROMPT)
    yield child
    child.close(force=True)


def run(terminal: "pexpect.spawn[str]", keys: str, expected: str) -> str:
    """Type, wait for what is expected and for the next prompt, and return what was shown until then."""
    terminal.send(keys)
    terminal.expect(expected)
    shown = str(terminal.before) + str(terminal.after)
    terminal.expect(PROMPT)
    return shown + str(terminal.before) + str(terminal.after)


def saved(terminal: "pexpect.spawn[str]", path: Path) -> str:
    run(terminal, f"/save {path}\r", r"\(Saved to")
    return path.read_text(encoding="utf-8")


def test_a_paste_is_one_message_and_ctrl_c_clears_a_half_typed_line(
    terminal: "pexpect.spawn[str]", state: Path, tmp_path: Path
) -> None:
    run(terminal, "\x1b[200~first line\nsecond line\n/exit\x1b[201~\r", r"s to the first token\)")
    terminal.send("half typed\x03")
    conversation = saved(terminal, tmp_path / "talk.json")
    assert conversation.count('"role": "user"') == 1
    assert r"first line\nsecond line\n/exit" in conversation
    history = state / "litgpt" / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+second line" in history.read_text(encoding="utf-8")


def test_what_is_typed_during_an_answer_waits_for_the_next_prompt(terminal: "pexpect.spawn[str]") -> None:
    run(terminal, "/set max_new_tokens 200\r", r"\(Set")
    terminal.send("hello\r")
    terminal.expect(r"(?s)hello.*\n.{20}")
    terminal.send("typed ahead")
    terminal.expect(r"s to the first token\)")
    assert "typed ahead" not in str(terminal.before)
    terminal.expect("typed ahead")
    terminal.send("\x03")
    run(terminal, "/set max_new_tokens 8\r", r"\(Set")


def test_tab_completes_commands_and_edit_is_prefilled(terminal: "pexpect.spawn[str]", tmp_path: Path) -> None:
    run(terminal, "the llama\r", r"s to the first token\)")
    terminal.send("/ed")
    terminal.expect("/ed")
    terminal.send("\t")
    terminal.expect("it")
    terminal.send("\r")
    terminal.expect("edit> (\x1b\\S+)*the llama")
    run(terminal, " eats\r", r"s to the first token\)")
    conversation = saved(terminal, tmp_path / "talk.json")
    assert '"the llama eats"' in conversation
    assert '"the llama"' not in conversation


def test_an_adapter_is_loaded_and_switched_off(terminal: "pexpect.spawn[str]", adapter: Path) -> None:
    run(terminal, f"/adapter {adapter}\r", r"\(The adapter is poet\.\)")
    run(terminal, "hello\r", r"s to the first token\)")
    shown = run(terminal, "/show\r", "seed: 1")
    assert "adapter: poet" in shown
    assert "prompts: the tokenizer's chat template" in shown
    run(terminal, "/adapter none\r", r"\(The adapter is none\.\)")


def test_ctrl_c_on_an_empty_line_quits_the_second_time(terminal: "pexpect.spawn[str]") -> None:
    run(terminal, "\x03", "Press Ctrl-C again")
    terminal.send("\x03")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_without_the_editor_lines_are_plain_and_the_same_keys_work(state: Path, tmp_path: Path) -> None:
    child = spawned(state, "-c", WITHOUT_EDITOR)
    child.expect("> ")
    child.delaybeforesend = 0.3  # Python's input() misses a Ctrl-C in the moment before it waits for keys
    child.send("half typed")
    child.expect("half typed")
    child.send("\x03")
    child.expect("> ")
    assert "Press Ctrl-C again" not in str(child.before)
    child.send('"""one\n')
    child.expect("… ")
    child.send('two"""\n')
    child.expect(r"s to the first token\)")
    child.expect("> ")
    child.send("/edit\n")
    child.expect("edit> .*one.*two")
    child.send("\x03")
    child.expect("> ")
    child.send(f"/save {tmp_path / 'talk.json'}\n")
    child.expect(r"\(Saved to")
    conversation = (tmp_path / "talk.json").read_text(encoding="utf-8")
    assert re.search(r'"one\\ntwo"', conversation)
    child.expect("> ")
    child.send("\x03")
    child.expect("Press Ctrl-C again")
    child.expect("> ")
    child.send("\x03")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
