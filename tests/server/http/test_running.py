"""Starting and stopping: ports, signals, threads and certificates."""

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette

from litgpt.domain.errors import InvalidArgument, MissingFile, NotInstalled, UnsupportedOperation
from litgpt.server import listening
from litgpt.server.listening import check_certificate, listen, url_of
from litgpt.server.run import start_in_thread
from litgpt.server.settings import ServerSettings
from tests.architecture.repository import ROOT
from tests.server.http.small_app import Gate, connect, error_of, read_reply, request, serving, small_app


@contextmanager
def script(**settings: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run the small app in a process, and yield the process and its URL."""
    command = [sys.executable, "-m", "tests.server.http.served_script", json.dumps({"port": 0} | settings)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def connect_to(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=120)


STREAM = b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
WAIT = b"GET /v1/wait HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_with_status_0(number: int) -> None:
    with script() as (process, url):
        assert json.load(urllib.request.urlopen(f"{url}/health", timeout=120)) == {"status": "ok"}  # noqa: S310
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "ended\n")
        assert "GET /health 200" in err
        assert "Traceback" not in err


def test_a_second_signal_ends_a_server_at_once() -> None:
    with script(grace_period=600) as (process, url), connect_to(url) as connection:
        connection.sendall(STREAM)
        assert connection.recv(1000)
        process.send_signal(signal.SIGTERM)
        with connect_to(url) as other:  # answered, so the first signal was handled
            while True:
                other.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if read_reply(other).status == 503:
                    break
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 128 + signal.SIGTERM
        assert "Traceback" not in err


def test_answers_that_exceed_the_grace_period_end_with_an_error() -> None:
    with script(grace_period=2) as (process, url), connect_to(url) as stream, connect_to(url) as waiting:
        stream.sendall(STREAM)
        assert stream.recv(10)
        waiting.sendall(WAIT)
        process.send_signal(signal.SIGTERM)
        reply = read_reply(waiting)
        assert (reply.status, error_of(reply)["code"]) == (503, "service_unavailable")
        rest = b"".join(iter(lambda: stream.recv(1000), b""))
        assert b"The server stopped before the answer was finished" in rest
        process.communicate(timeout=120)
        assert process.returncode == 0


def test_running_answers_finish_while_new_requests_are_refused() -> None:
    gate = Gate()
    with serving(gate) as server, connect(server) as connection:
        connection.sendall(STREAM)
        assert gate.entered.wait(120)
        closing = threading.Thread(target=server.close)
        closing.start()
        while request(server, "GET", "/health").status == 200:
            pass
        assert request(server, "GET", "/health").json() == {"status": "draining"}
        assert request(server, "GET", "/health/live").status == 200
        assert request(server, "GET", "/metrics").status == 200
        refused = request(server, "POST", "/v1/echo", {})
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "stopping" in error_of(refused)["message"]
        gate.left.set()
        assert read_reply(connection).body.endswith(b"data: [DONE]\n\n")
        closing.join(timeout=120)
        assert not server.is_running


def test_a_server_in_a_thread_closes_its_port_and_may_be_closed_twice() -> None:
    server = start_in_thread(small_app(), ServerSettings(port=0))
    assert repr(server) == f"RunningServer(url='{server.url}', running)"
    server.close()
    server.close()
    assert repr(server) == f"RunningServer(url='{server.url}', closed)"
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_an_app_that_does_not_start_is_an_error() -> None:
    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        if True:
            raise RuntimeError("no")
        yield

    with pytest.raises(UnsupportedOperation, match="failed at its start"):
        start_in_thread(Starlette(lifespan=lifespan), ServerSettings(port=0))


def test_a_port_in_use_is_an_error_with_a_remedy_before_anything_else() -> None:
    with listen(ServerSettings(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(UnsupportedOperation, match=rf"127\.0\.0\.1:{port} .*another program.*port=\d+"):
            listen(ServerSettings(port=port))
    listen(ServerSettings(port=port)).close()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "a" * 64 + ".example"])
def test_a_host_of_another_machine_is_an_error(host: str) -> None:
    with pytest.raises(InvalidArgument, match="host must be an address"):
        listen(ServerSettings(host=host))


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1"), ("localhost", "http://localhost"), ("::1", "http://[::1]")],
)
def test_urls(host: str, url: str) -> None:
    settings = ServerSettings(host=host, port=0)
    with listen(settings) as listener:
        assert url_of(settings, listener) == f"{url}:{listener.getsockname()[1]}"
    assert settings.is_local


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(NotInstalled, match=r'pip install "litgpt\[serve\]"'):
        listening.require_packages()


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two certificates, their keys, and one of them with a password."""
    folder = tmp_path_factory.mktemp("pem")
    for name in ("one", "two"):
        subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        new = (
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        )
        openssl(*new, *subject, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    encrypted = folder / "encrypted.key"
    openssl("pkey", "-in", folder / "one.key", "-aes256", "-passout", "pass:secret", "-out", encrypted)
    (folder / "both.pem").write_text((folder / "one.crt").read_text() + (folder / "one.key").read_text())
    (folder / "nonsense.pem").write_text("nonsense")
    return folder


@pytest.mark.parametrize(("cert", "key"), [("one.crt", "one.key"), ("both.pem", None)])
def test_https(pem: Path, cert: str, key: str | None) -> None:
    settings = ServerSettings(port=0, tls_cert=pem / cert, tls_key=None if key is None else pem / key)
    with start_in_thread(small_app(), settings) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=pem / "one.crt")
        with urllib.request.urlopen(f"{server.url}/health", context=trusted, timeout=120) as reply:  # noqa: S310
            assert json.load(reply) == {"status": "ok"}
        with connect(server) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not plain.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("one.crt", "two.key", "tls_key must be the private key of the certificate in .*one.crt"),
        ("one.crt", "encrypted.key", "tls_key must be a private key without a password"),
        ("one.crt", "nonsense.pem", "must be PEM files"),
        ("nonsense.pem", "one.key", "must be PEM files"),
        ("one.crt", None, "must be PEM files"),
        (".", "one.key", "tls_cert must be a PEM file that this user can read"),
    ],
)
def test_certificates_that_cannot_be_used(pem: Path, cert: str, key: str | None, message: str) -> None:
    settings = ServerSettings(tls_cert=pem / cert, tls_key=None if key is None else pem / key)
    with pytest.raises(InvalidArgument, match=message):
        check_certificate(settings)


def test_a_missing_certificate_is_named(pem: Path) -> None:
    with pytest.raises(MissingFile, match=r"gone\.crt"):
        check_certificate(ServerSettings(tls_cert=pem / "gone.crt", tls_key=pem / "one.key"))
