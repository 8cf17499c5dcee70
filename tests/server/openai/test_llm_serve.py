"""`LLM.serve` in a program: what it says, and how its servers end."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

from litgpt import LLM
from litgpt.server.run import RunningServer

SCRIPT = """
from litgpt import LLM
with LLM.load("smollm2") as llm:
    llm.serve(port=0)
print("closed")
"""


def test_a_blocking_server_says_where_it_is() -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stderr is not None
        assert program.stdout is not None
        said = []
        for line in program.stderr:
            said.append(line)
            if "Ctrl+C stops it." in line:
                break
        assert any("Serving smollm2 at http://127.0.0.1:" in line for line in said), said
        os.kill(program.pid, signal.SIGTERM)
        assert program.stdout.read() == "closed\n"
        assert program.wait(timeout=300) == 0


def stream(server: RunningServer) -> HTTPConnection:
    """Return a connection on which a long answer has begun."""
    connection = HTTPConnection("127.0.0.1", urlsplit(server.url).port, timeout=120)
    body = b'{"prompt": "Hi", "max_tokens": 8000, "ignore_eos": true, "stream": true}'
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    return connection


def test_closing_a_model_drains_all_of_its_servers_at_once() -> None:
    with LLM.load("smollm2", quiet=True) as llm:
        llm.serve(port=0, block=False).close()
        servers = [llm.serve(port=0, block=False, grace_period=300) for _ in range(2)]
        assert llm._servers == servers
        with closing(stream(servers[1])) as connection:
            response = connection.getresponse()
            response.readline()
            closing_model = threading.Thread(target=llm.close)
            closing_model.start()
            servers[0]._thread.join(120)
            assert not servers[0].is_running
            assert servers[1].is_running
            response.close()
        closing_model.join(120)
        assert not servers[1].is_running
        assert not llm._servers


def test_the_grace_period_of_a_server_in_a_program_ends_its_answers(llm: LLM) -> None:
    server = llm.serve(port=0, block=False, grace_period=0)
    with closing(stream(server)) as connection:
        response = connection.getresponse()
        response.readline()
        server.close()
        assert b"The server stopped" in response.read()
