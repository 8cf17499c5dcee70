"""Every malformed request gets the right error in OpenAI's format, and the server lives on."""

from collections.abc import Iterator

import pytest

from litgpt.server.run import RunningServer
from tests.server.http.malformed_requests import Malformed, chunked, malformed_requests, post
from tests.server.http.small_app import (
    ALLOWED_DEPTH,
    SMALL_LIMITS,
    connect,
    error_of,
    read_reply,
    request,
    send_raw,
    serving,
)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(**SMALL_LIMITS) as running:
        yield running


@pytest.mark.parametrize("row", malformed_requests(), ids=str)
def test_a_malformed_request_gets_an_error_and_the_server_lives_on(
    server: RunningServer, row: Malformed
) -> None:
    reply = send_raw(server, row.raw)
    error = error_of(reply)
    assert reply.status == row.status, error
    if row.code is not None:
        assert error["code"] == row.code
    assert "Traceback" not in error["message"]
    assert request(server, "GET", "/health").status == 200


def test_there_are_about_two_hundred() -> None:
    assert len(malformed_requests()) > 200


@pytest.mark.parametrize(
    "raw",
    [
        post(b'{"a": "\\ud83d\\ude00 \xf0\x9f\x98\x80"}'),
        post(b'\xef\xbb\xbf{"a": 1}'),
        post(b"{}", b'Content-Type: application/json; charset="UTF-8"\r\n'),
        post(b"{}", b"Content-Type: Application/JSON\r\nContent-Encoding: identity\r\n"),
        post(b'{"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e308, "d": 1e-999}'),
        post(b'{"a": ' + b"[" * (ALLOWED_DEPTH - 2) + b"]" * (ALLOWED_DEPTH - 2) + b"}"),
        post(b'{"a": "\\u0000"}'),
        chunked(b'{"a"', b": 1}"),
    ],
)
def test_unusual_requests_are_answered(server: RunningServer, raw: bytes) -> None:
    reply = send_raw(server, raw)
    assert reply.status == 200, reply.body


def test_a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing_behind(server: RunningServer) -> None:
    raw = post(b'{"a": 1}')
    for end in (1, 10, raw.index(b"\r\n\r\n") + 2, raw.index(b"\r\n\r\n") + 4, len(raw) - 1):
        with connect(server) as connection:
            connection.sendall(raw[:end])
    assert request(server, "GET", "/health").status == 200


def test_a_request_after_a_refused_one_on_the_same_connection_is_answered(server: RunningServer) -> None:
    with connect(server) as connection:
        for raw, status in ((post(b"nonsense"), 400), (post(b"{}", b""), 415), (post(b"{}"), 200)):
            connection.sendall(raw)
            assert read_reply(connection).status == status
