"""Slow clients, many connections, long answers, and errors in the middle of them."""

import logging
import re
from contextlib import ExitStack

import pytest

from litgpt.server.settings import ServerSettings
from tests.architecture.repository import ROOT
from tests.server.http.malformed_requests import HOST, JSON_TYPE, chunked, post
from tests.server.http.small_app import (
    ALLOWED_BODY,
    SMALL_LIMITS,
    Gate,
    connect,
    error_of,
    read_reply,
    request,
    send_raw,
    serving,
)

PARTS = [
    post(b"{}", length=100),
    post(b'{"a": ', length=100),
    chunked(b"{", end=b""),
    b"GET /health HTTP/1.1\r\n",
    b"GET /health HTTP/1.1\r\n" + HOST + b"X-A: ",
    b"G",
]
"""Requests that do not arrive completely."""


def test_clients_that_are_too_slow_are_answered_and_their_connections_are_closed() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(**SMALL_LIMITS, arrival_timeout=3))
        silent, refused, *slow = [stack.enter_context(connect(server)) for _ in range(2 + len(PARTS))]
        for connection, part in zip(slow, PARTS, strict=True):
            connection.sendall(part)
        refused.sendall(post(b"x" * 1000, length=10**9))
        assert read_reply(refused).status == 413
        for connection in slow:
            reply = read_reply(connection)
            assert (reply.status, error_of(reply)["code"]) == (408, "request_timeout")
        for connection in (silent, refused, *slow):
            assert connection.recv(1) == b""
        assert request(server, "GET", "/health").status == 200


def test_a_refused_body_may_be_sent_to_its_end_and_another_request_follows() -> None:
    with serving(**SMALL_LIMITS) as server, connect(server) as connection:
        connection.sendall(post(b"x" * 500_000))
        assert read_reply(connection).status == 413
        connection.sendall(post(b"{}"))
        assert read_reply(connection).status == 200


def test_all_bodies_together_are_bounded() -> None:
    gate = Gate()
    body = post(b" " * (ALLOWED_BODY - 100), path=b"/v1/stream")
    with serving(gate, **SMALL_LIMITS) as server, ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(8)]
        for connection in held:
            connection.sendall(body)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
        refused = send_raw(server, body)
        assert (refused.status, error_of(refused)["code"]) == (503, "service_unavailable")
        assert "retry-after" in refused.headers
        assert request(server, "GET", "/v1/fail/argument").status == 400
        gate.left.set()
        for connection in held:
            while not connection.recv(10_000).endswith(b"0\r\n\r\n"):
                pass
        assert send_raw(server, body).status == 200


def test_a_client_that_waits_for_100_continue_gets_the_error_instead() -> None:
    with serving(**SMALL_LIMITS) as server:
        head = b"POST /v1/echo HTTP/1.1\r\n" + HOST + JSON_TYPE + b"Expect: 100-continue\r\n"
        assert send_raw(server, head + b"Content-Length: 99999999\r\n\r\n").status == 413
        with connect(server) as connection:
            connection.sendall(head + b"Content-Length: 2\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b"{}")
            assert read_reply(connection).status == 200


def test_more_connections_than_allowed_are_refused_and_a_closed_one_makes_room() -> None:
    with serving(max_connections=2) as server:
        first, second = connect(server), connect(server)
        for connection in (first, second):
            connection.sendall(post(b"{}"))
            assert read_reply(connection).status == 200
        third = send_raw(server, post(b"{}"))
        assert (third.status, error_of(third)["code"]) == (503, "service_unavailable")
        first.close()
        while send_raw(server, post(b"{}")).status == 503:  # until the server has seen the end of the first
            pass
        second.close()


def test_an_answer_that_takes_too_long_ends_with_an_error() -> None:
    gate = Gate()
    with serving(gate, request_timeout=2) as server:
        reply = request(server, "GET", "/v1/wait")
        assert (reply.status, error_of(reply)["code"]) == (504, "timeout")
        assert gate.cancelled.wait(120)
        events = request(server, "GET", "/v1/stream").body.decode().split("\n\n")
        assert events[0] == 'data: {"n": 1}'
        assert '"code": "timeout"' in events[1]


def test_errors_keep_their_details_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as server:
        reply = request(server, "GET", "/v1/fail/bug", headers={"X-Request-Id": "mine-1"})
        assert (reply.status, error_of(reply)["type"]) == (500, "server_error")
        assert b"secret" not in reply.body
        assert "mine-1" in caplog.text
        assert "RuntimeError: a secret detail" in caplog.text
        stream = request(server, "GET", "/v1/broken")
        assert stream.status == 200
        assert stream.body.startswith(b'data: {"n": 1}\n\ndata: {"error": {')
        assert b"secret" not in stream.body
        assert caplog.text.count("the request failed") == 2
        model = error_of(request(server, "GET", "/v1/fail/model"))
        assert (model["code"], "secret" in model["message"]) == ("model_not_found", False)
        assert error_of(request(server, "GET", "/v1/fail/argument"))["param"] == "temperature"
        context = error_of(request(server, "GET", "/v1/fail/context"))
        assert context["code"] == "context_length_exceeded"
        assert "3000" in context["message"]
        assert "2048" in context["message"]


def test_a_request_is_logged_on_one_line_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "litgpt.server"), serving() as server:
        request(server, "POST", "/v1/echo", {"prompt": "my diary"}, {"X-Request-Id": "abc"})
        request(server, "GET", "/v1/%0a%1b[31mforged%20line", headers={"X-Request-Id": "bad id"})
    lines = [record.getMessage() for record in caplog.records if record.name == "litgpt.server.access"]
    assert len(lines) == 2
    assert lines[0].startswith("POST /v1/echo 200 ")
    assert "12 (8 cached) + 3 tokens, queue 2 ms, 127.0.0.1, abc" in lines[0]
    assert "diary" not in lines[0]
    assert lines[1].isprintable()
    assert "bad id" not in lines[1]
    assert ", req-" in lines[1]


def test_prompts_are_logged_on_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "litgpt.server"), serving(log_prompts=True) as server:
        request(server, "POST", "/v1/echo", {"prompt": "my\ndiary"})
    assert r'{"prompt": "my\\ndiary"}' in caplog.records[-1].getMessage()


def test_a_client_that_leaves_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "litgpt.server"), serving() as server:
        with connect(server) as connection:
            connection.sendall(post(b"{", length=100))
        while "/v1/echo" not in caplog.text:
            request(server, "GET", "/health")
    assert "POST /v1/echo 499 " in caplog.text


def test_the_limits_of_the_guide_are_the_defaults() -> None:
    settings = ServerSettings()
    guide = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", guide.partition("**Limits.**")[2], re.MULTILINE))
    expected = {
        "body of a request": f"{settings.max_body_bytes >> 20} MiB, and 500,000 arrays and objects",
        "nesting of JSON": f"{settings.max_json_depth}",
        "request line and headers": f"{settings.max_header_bytes >> 10} KiB",
        "time for the headers to arrive, and then for the body": f"{settings.arrival_timeout:g} s",
        "open connections": f"{settings.max_connections}",
        "requests that wait while others run": f"{settings.max_queue} (`--max-queue`)",
    }
    assert {name: table.get(name) for name in expected} == expected
    assert (settings.max_answer_tokens, settings.request_timeout) == (None, None)
    assert f"at most {settings.grace_period:g} seconds (`--grace-period`)" in guide
