"""The configuration of nginx in docs/serving.md, in front of two servers."""

import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from litgpt.server.run import RunningServer
from tests.architecture.repository import ROOT
from tests.server.http.small_app import Gate, port_of, serving
from tests.server.replicas.running_replicas import wait_for

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NGINX is None, reason="needs nginx")]


@contextmanager
def nginx(folder: Path, first: RunningServer, second: RunningServer) -> Iterator[Path]:
    """Run nginx with the documented configuration, and yield the socket on which it listens."""
    block = re.search(
        r"```nginx\n(.*?)```", (ROOT / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert block is not None
    path = folder / "nginx.sock"
    text = block[1].replace("listen 8000;", f"listen unix:{path};")
    for name, server in (("10.0.0.1:8000", first), ("10.0.0.2:8000", second)):
        text = text.replace(name, f"127.0.0.1:{port_of(server)}")
    assert "10.0.0" not in text
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    text = text.replace("http {", f"http {{ access_log off; {temporary}", 1)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n{text}", encoding="utf-8"
    )
    with subprocess.Popen([str(NGINX), "-c", str(config), "-e", str(folder / "error.log")]) as process:
        try:
            wait_for(lambda: path.exists() or process.poll() is not None)
            assert process.poll() is None
            yield path
        finally:
            process.terminate()


def send(path: Path, method: str, target: str, *headers: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(120)
    connection.connect(str(path))
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def status(path: Path, *headers: str) -> bytes:
    with send(path, "GET", "/health", *headers) as connection:
        return b"".join(iter(lambda: connection.recv(65536), b"")).split(b" ")[1]


def test_events_pass_at_once_and_clients_that_go_away_are_noticed(tmp_path: Path) -> None:
    gate = Gate()
    with serving(gate) as first, serving(gate) as second, nginx(tmp_path, first, second) as path:
        with send(path, "GET", "/v1/stream") as connection:
            received = b""
            while b'data: {"n": 1}' not in received:
                received += connection.recv(65536)
            assert gate.entered.is_set()
            assert not gate.left.is_set()
        assert gate.cancelled.wait(120)


def test_a_conversation_stays_with_one_server_and_goes_on_when_that_is_gone(tmp_path: Path) -> None:
    with serving() as first, serving() as second, nginx(tmp_path, first, second) as path:
        for _ in range(8):
            assert status(path, "X-Session-Id: one") == b"200"
        before = [requests(server) for server in (first, second)]
        assert sorted(before) == [0, 8]
        for number in range(24):
            assert status(path) == b"200", number  # without a session, over all servers
        assert all(requests(server) > number for server, number in zip((first, second), before, strict=True))
        (first if before[0] else second).close()
        assert status(path, "X-Session-Id: one") == b"200"


def requests(server: RunningServer) -> int:
    """Return how often a server was asked for its health."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=120) as reply:  # noqa: S310 - a server above
        text = reply.read().decode()
    found = re.search(r'litgpt_requests_total{method="GET",route="/health",status="200"} (\d+)', text)
    return 0 if found is None else int(found[1])
