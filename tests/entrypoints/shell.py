"""A shell in a pseudo-terminal."""

import os
import re
import signal
import sys
from pathlib import Path

import pexpect

READY = "ready> "
PROMPT = r"(?s)2004h(\x1b\[\?1l)?\x1b\[\?25l.*?\x1b\[\?25h"
"""What prompt_toolkit sends when a chat waits for a message."""

_HIDDEN = ("NO_COLOR", "RANK", "LOCAL_RANK", "NODE_RANK", "VISUAL", "EDITOR")


class Shell:
    """A shell whose `litgpt` is this one; without a Hub or GPUs, and with its own home.

    Attributes:
        folder: The working directory.
        child: The terminal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = {name for name in os.environ if not name.startswith("LITGPT_") and name not in _HIDDEN}
        environment = {name: os.environ[name] for name in names} | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_STATE_HOME": str(folder / "state"),
            "HF_HOME": str(folder / "hub"),
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TERM": "xterm",
            "PS1": READY,
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }
        self.child = pexpect.spawn(
            "sh", [], env=environment, cwd=str(folder), encoding="utf-8", timeout=300, dimensions=(40, 200)
        )
        self.child.expect_exact(READY)

    def begin(self, command: str) -> None:
        """Type a command."""
        self.child.sendline(command)
        self.child.expect_exact(f"{command}\r\n")

    def end(self, status: int = 0) -> str:
        """Wait until the command has exited with a status, and return its output."""
        self.child.expect_exact(READY)
        sent = str(self.child.before)
        self.begin("echo $?")
        self.child.expect_exact(READY)
        assert self.child.before == f"{status}\r\n", sent
        return sent

    def run(self, command: str, status: int = 0) -> str:
        """Run a command and return its output."""
        self.begin(command)
        return screen(self.end(status))


def kill(child: "pexpect.spawn[str]") -> None:
    """Kill a program in a terminal. pexpect's own `close` raises if that takes more than 0.1 s."""
    child.kill(signal.SIGKILL)
    child.wait()
    child.close()


def screen(sent: str) -> str:
    """Return the lines of a terminal without styles, after all overwriting."""
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", sent).replace("\r\n", "\n")
    return "\n".join(line.rsplit("\r", 1)[-1].rstrip() for line in text.split("\n"))
