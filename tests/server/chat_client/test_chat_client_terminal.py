"""Ctrl-C in a chat with a server, in a terminal."""

import os
import sys

import pytest

from tests.server.chat_client.scripted_server import Script, delta, scripted

if sys.platform == "win32":
    pytest.skip("needs a POSIX terminal", allow_module_level=True)

import pexpect

TIMEOUT = 300


@pytest.mark.parametrize("text", ["Half an answer", ""])
def test_ctrl_c_closes_the_connection_and_keeps_what_was_received(text: str, tmp_path: object) -> None:
    script = Script([delta(content=text)] if text else [b": ping\n\n"], waits=True)
    environment = {**os.environ, "TERM": "dumb", "XDG_STATE_HOME": str(tmp_path)}
    with scripted(script) as server:
        command = ["-m", "litgpt.cli", "chat", "--url", server.url]
        child = pexpect.spawn(sys.executable, command, env=environment, encoding="utf-8", timeout=TIMEOUT)
        child.expect("Ctrl-D quits")
        child.expect("> ")
        child.send("Hello\r")
        assert script.begun.wait(TIMEOUT)
        if text:
            child.expect(text)
        child.send("\x03")
        assert script.left.wait(TIMEOUT)
        child.expect("> ")
        child.send("/show\r")
        child.expect("user: Hello" if text else "seed: none")
        child.expect(f"assistant: {text}" if text else "> ")
        child.sendeof()
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 0
