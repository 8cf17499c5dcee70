"""Who may use a server: keys, host names and the origins of web pages."""

import asyncio
import logging
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from litgpt.domain.errors import CorruptFile, InvalidArgument, MissingFile
from litgpt.server.http.host_check import HostCheck
from litgpt.server.key_file import keys_of_environment, read_key_file
from litgpt.server.openai.errors import RequestRefused
from litgpt.server.settings import ServerSettings
from tests.server.http.small_app import error_of, port_of, request, serving

KEYS = ("sk-first-4711", "sk-second-0815")


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/metrics", "/docs", "//", "/health/", "/HEALTH", "/index.html"]
)
def test_every_path_needs_a_key(path: str) -> None:
    with serving(api_keys=KEYS) as server:
        reply = request(server, "GET", path)
        assert (reply.status, error_of(reply)["code"]) == (401, "invalid_api_key")
        assert reply.headers["www-authenticate"] == "Bearer"


def test_a_key_opens_every_path_and_no_other_does(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serving(api_keys=KEYS) as server:
        for headers in (
            *({"Authorization": f"Bearer {key}"} for key in KEYS),
            {"Authorization": f"bearer   {KEYS[0]} "},
            {"X-API-Key": KEYS[1]},
            {"X-API-Key": KEYS[1], "Authorization": "Bearer not-needed"},
        ):
            assert request(server, "POST", "/v1/echo", {}, headers).status == 200
        for value in (
            "",
            "Bearer",
            "Bearer ",
            f"Basic {KEYS[0]}",
            KEYS[0],
            f"Bearer {KEYS[0]}x",
            f"Bearer {KEYS[0][:-1]}",
        ):
            reply = request(server, "POST", "/v1/echo", {}, {"Authorization": value})
            assert reply.status == 401, value
            assert KEYS[0][:-1] not in reply.body.decode()
        assert request(server, "POST", "/v1/echo", {}, {"X-API-Key": f"{KEYS[0]},{KEYS[1]}"}).status == 401
        assert request(server, "GET", f"/v1/nothing?key={KEYS[0]}").status == 401
    assert "POST /v1/echo 401" in caplog.text
    assert all(key not in caplog.text for key in KEYS)


def test_health_and_the_page_are_public_to_read_only() -> None:
    with serving(api_keys=KEYS) as server:
        for path in ("/", "/health", "/health/live"):
            assert request(server, "GET", path).status == 200
            assert request(server, "HEAD", path).status == 200
            assert request(server, "POST", path, {}).status == 401


def test_no_body_is_read_without_a_key() -> None:
    with serving(api_keys=KEYS, max_body_bytes=10) as server:
        assert request(server, "POST", "/v1/echo", b"x" * 1000).status == 401
        with_key = {"Authorization": f"Bearer {KEYS[0]}"}
        assert request(server, "POST", "/v1/echo", b"x" * 1000, with_key).status == 413


def test_keys_are_not_in_the_repr_of_the_settings_and_not_in_their_errors() -> None:
    assert KEYS[0] not in repr(ServerSettings(api_keys=KEYS))
    for keys in (
        ("sk-secret key",),
        ("",),
        ("ü-sk-secret",),
        ("sk-secret\n",),
        ("sk-secret" * 100,),
        "sk-secret",
    ):
        with pytest.raises(InvalidArgument, match="api_keys") as caught:
            ServerSettings(api_keys=keys)
        assert "sk-secret" not in str(caught.value)


def test_a_file_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# of the team\n\n  sk-one  \r\nsk-two\n#sk-old\n")
    path.chmod(0o600)
    assert read_key_file(path) == (("sk-one", "sk-two"), None)
    path.chmod(0o640)
    keys, warning = read_key_file(path)
    assert keys == ("sk-one", "sk-two")
    assert warning is not None
    assert f"chmod 600 {path}" in warning
    assert "sk-one" not in warning


def test_a_file_without_keys_is_an_error_and_not_an_open_server(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(MissingFile, match="one a line"):
        read_key_file(path)
    for raw in (b"", b"# none\n", b"\xff\xfe\x00", b"x" * 2_000_000):
        path.write_bytes(raw)
        with pytest.raises(CorruptFile, match="keys"):
            read_key_file(path)
    with pytest.raises(CorruptFile, match="directory"):
        read_key_file(tmp_path)


def test_keys_of_the_environment() -> None:
    assert keys_of_environment({}) == ()
    assert keys_of_environment({"LITGPT_API_KEYS": "sk-one, sk-two\nsk-three"}) == (
        "sk-one",
        "sk-two",
        "sk-three",
    )
    for value in ("", "  ", ",\n"):
        with pytest.raises(InvalidArgument, match="LITGPT_API_KEYS"):
            keys_of_environment({"LITGPT_API_KEYS": value})


@pytest.mark.parametrize(
    ("settings", "allowed", "refused"),
    [
        ({}, ["localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:1", "10.0.0.1", "localhost."], ["a.example"]),
        (
            {"allowed_hosts": ["llm.example"]},
            ["llm.example", "LLM.example:443", "localhost"],
            ["b.llm.example"],
        ),
    ],
)
def test_host_names(settings: dict[str, Any], allowed: list[str], refused: list[str]) -> None:
    with serving(**settings) as server:
        for host in allowed:
            assert request(server, "GET", "/health", headers={"Host": host}).status == 200, host
        for host in refused:
            reply = request(server, "GET", "/health", headers={"Host": host})
            assert (reply.status, error_of(reply)["code"]) == (403, "host_not_allowed"), host


@pytest.mark.parametrize(
    ("settings", "allowed", "refused"),
    [
        ({"host": "0.0.0.0"}, ["localhost", "192.168.1.5:8000", socket.gethostname()], ["rebound.example"]),  # noqa: S104
        ({"host": "::", "api_keys": KEYS}, ["localhost", "any.example"], []),
        ({"host": "::", "api_keys": KEYS, "allowed_hosts": ["a.example"]}, ["a.example"], ["b.example"]),
    ],
)
def test_host_names_of_a_server_for_all_networks(
    settings: dict[str, Any], allowed: list[str], refused: list[str]
) -> None:
    async def passes(host: str) -> bool:
        """Ask the middleware alone: no test opens a port to the network."""
        passed = False

        async def app(*_: object) -> None:
            nonlocal passed
            passed = True

        check = HostCheck(app, ServerSettings(**settings))
        with suppress(RequestRefused):
            await check({"headers": [(b"host", host.encode())]}, None, None)  # type: ignore[arg-type]
        return passed

    assert all(asyncio.run(passes(host)) for host in allowed)
    assert not any(asyncio.run(passes(host)) for host in refused)


def test_web_pages_of_other_origins_are_refused_unless_they_are_named() -> None:
    with serving() as server:
        own = {"Origin": f"http://127.0.0.1:{port_of(server)}"}
        other = {"Origin": "http://localhost:3000"}
        assert request(server, "POST", "/v1/echo", {}, own).status == 200
        assert request(server, "POST", "/v1/echo", {}, other).status == 403
        reply = request(server, "GET", "/health", headers=other)
        assert reply.status == 200
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("named", ["http://localhost:3000", "*"])
def test_named_origins_may_send_requests_and_read_the_answers_and_the_errors(named: str) -> None:
    origin = {"Origin": "http://localhost:3000"}
    with serving(cors_origins=[named], api_keys=KEYS) as server:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-stainless-os",
        }
        reply = request(server, "OPTIONS", "/v1/echo", headers=origin | asked)
        assert reply.status == 200
        assert reply.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
        key = {"Authorization": f"Bearer {KEYS[0]}"}
        for headers, body, status in ((key, {}, 200), (key, b"nonsense", 400), ({}, {}, 401)):
            reply = request(server, "POST", "/v1/echo", body, origin | headers)
            assert reply.status == status
            assert reply.headers["access-control-allow-origin"] == named
            assert "X-Request-Id" in reply.headers["access-control-expose-headers"]
        if named != "*":
            other = {"Origin": "http://evil.example"}
            assert (
                error_of(request(server, "OPTIONS", "/v1/echo", headers=other | asked))["code"]
                == "origin_not_allowed"
            )
            assert request(server, "POST", "/v1/echo", {}, other | key).status == 403


def test_headers_restrict_what_a_browser_does_with_an_answer() -> None:
    with serving() as server:
        for path in ("/health", "/v1/nothing", "/v1/stream"[:6]):
            headers = request(server, "GET", path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers
        assert request(server, "GET", "/").headers["content-security-policy"] == "default-src 'self'"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("host", it) for it in ("", "http://x", "a b", "a/b", "x\n", None)),
        *(("port", it) for it in (-1, 65536, "8000", 1.5, True)),
        *(("cors_origins", it) for it in (["example.com"], ["http://a/b"], ["http://*"], "http://a", [1])),
        *(("allowed_hosts", it) for it in (["http://a"], ["a:1"], [""], "a", [None])),
        *((it, 0) for it in ("max_body_bytes", "max_connections", "max_json_depth", "max_answer_tokens")),
        *((it, -1) for it in ("request_timeout", "arrival_timeout", "grace_period", "max_queue")),
        ("log_prompts", 1),
        ("tls_key", "key.pem"),
    ],
)
def test_settings_are_checked(name: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=name):
        ServerSettings(**{name: value})  # type: ignore[arg-type]
