"""Tests of the command line as a process: pipes, terminals and Ctrl-C."""

import codecs
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.entrypoints.keyboard import wait_until_it_reads

LITGPT = (sys.executable, "-m", "litgpt.cli")
PATIENCE = 300
NEVER_ENDING = ("--max-new-tokens", "100000")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a model whose answers do not end: a long context, and no end token."""
    path = tmp_path_factory.mktemp("talkative")
    model = tiny_model("llama", max_position_embeddings=1_000_000, eos_token_id=None)
    model.generation_config.eos_token_id = None
    model.save_pretrained(path)
    shutil.copy(tiny_folder("llama") / "tokenizer.json", path)
    template = "{% for message in messages %}{{ message.content }}|{% endfor %}"
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}), encoding="utf-8")
    return str(path)


def litgpt(*arguments: str, message: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*LITGPT, *arguments), input=message, capture_output=True, encoding="utf-8", check=False
    )


def test_help_and_the_list_load_no_torch() -> None:
    program = """
import sys
from litgpt.cli.main import run
for command in ("--help", "generate --help", "finetune --help", "pretrain --help", "download list"):
    run(command.split())
heavy = {"torch", "huggingface_hub", "tokenizers", "dependency_injector", "rich", "lightning"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
run(["info", "smollm2"])
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "134.5 million" in done.stdout


def test_the_real_model_answers_through_a_pipe() -> None:
    done = litgpt(
        "generate", "--prompt", "-", "--top_k", "1", "--quiet", message="What is the capital of France?\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "The capital of France is Paris.\n", "")


def test_a_chat_through_a_pipe_answers_line_by_line(folder: str, tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    typed = f"My name is Ada.\n\nWhat is my name?\n/save {saved}\n/nonsense\n/exit\nnever read\n"
    done = litgpt("chat", folder, "--seed", "1", "--max-new-tokens", "20", "--quiet", message=typed)
    assert done.returncode == 0, done.stderr
    messages = json.loads(saved.read_text(encoding="utf-8"))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert done.stdout == "".join(
        f"{message['content']}\n" for message in messages if message["role"] == "assistant"
    )
    assert done.stderr.startswith(f"(Saved to {saved}.)\nUnknown command /nonsense (see /help).")


def test_a_closed_pipe_is_not_an_error(folder: str) -> None:
    command = [*LITGPT, "generate", folder, "--prompt", "x", "--stream", "--quiet", *NEVER_ENDING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


if sys.platform != "win32":
    import pty
    import termios

    # pty.fork() is unsafe in a process with threads: the program acquires its terminal itself.
    # A shell resets its programs' signal handlers; the process of these tests may ignore SIGINT.
    IN_ITS_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

    class Terminal:
        """A program in a pseudo-terminal."""

        def __init__(self, *arguments: str) -> None:
            self.descriptor, end = pty.openpty()
            self.before = termios.tcgetattr(self.descriptor)
            environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
            environment["TERM"] = "dumb"  # a chat then reads plain lines
            self.process = subprocess.Popen(
                [sys.executable, "-c", IN_ITS_TERMINAL, *LITGPT[1:], *arguments],
                stdin=end,
                stdout=end,
                stderr=end,
                start_new_session=True,
                env=environment,
            )
            os.close(end)
            self.seen = ""
            # A read may end inside a character.
            self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def read(self, seconds: float) -> bytes | None:
            """Return the program's next output: empty if it has exited, None on timeout."""
            if not select.select([self.descriptor], [], [], max(0, seconds))[0]:
                return None
            try:
                chunk = os.read(self.descriptor, 4096)
            except OSError:  # Linux's error after the program has exited
                return b""
            self.seen += self.decoder.decode(chunk)
            return chunk

        def wait_for(self, pattern: str) -> None:
            until = time.monotonic() + PATIENCE
            while not re.search(pattern, self.seen):
                assert self.read(until - time.monotonic()), self.seen

        def type(self, text: str) -> None:
            self.seen = ""
            os.write(self.descriptor, text.encode())

        def press_ctrl_c_at_the_prompt(self) -> None:
            wait_until_it_reads(self.process.pid)
            self.type("\x03")

        def status(self) -> int:
            """Wait for the program to exit and return its status."""
            until = time.monotonic() + PATIENCE
            while self.read(until - time.monotonic()) != b"":
                assert time.monotonic() < until, self.seen
            return self.process.wait()

        def is_as_it_was(self) -> bool:
            """Return whether echo, line editing and the cursor are restored."""
            hidden = self.seen.rfind("\x1b[?25l") > self.seen.rfind("\x1b[?25h")
            return termios.tcgetattr(self.descriptor) == self.before and not hidden

        def close(self) -> None:
            """Kill the program and close the terminal."""
            self.process.kill()
            self.process.wait()
            os.close(self.descriptor)

    def test_ctrl_c_ends_an_answer_with_130_and_leaves_the_terminal_as_it_was(folder: str) -> None:
        with closing(Terminal("generate", folder, "--prompt", "x", *NEVER_ENDING)) as terminal:
            terminal.wait_for(r"(?s)Using the native engine[^\n]*\n.{30}")
            terminal.type("\x03")
            assert terminal.status() == 130
            assert terminal.is_as_it_was()
            assert "Traceback" not in terminal.seen

    def test_ctrl_c_in_a_chat_stops_the_answer_and_at_the_prompt_the_program(folder: str) -> None:
        with closing(Terminal("chat", folder, *NEVER_ENDING)) as terminal:
            terminal.wait_for("> $")
            terminal.type("hello \\\n")
            terminal.wait_for("… $")
            terminal.type("llama\n")
            terminal.wait_for(r"(?s)llama\r\n.{30}")
            terminal.type("\x03")
            terminal.wait_for(r"\n> $")
            terminal.type("/help\n")
            terminal.wait_for(r"Ctrl-C stops an answer")
            terminal.wait_for(r"> $")
            terminal.press_ctrl_c_at_the_prompt()
            terminal.wait_for(r"Press Ctrl-C again[^\n]*\n> $")
            terminal.press_ctrl_c_at_the_prompt()
            assert terminal.status() == 0
            assert terminal.is_as_it_was()
            assert "Traceback" not in terminal.seen
