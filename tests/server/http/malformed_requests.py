"""Requests that no server may answer with anything but the right error. Add rows to the functions below."""

import json
from collections.abc import Iterator

import attrs

from tests.server.http.small_app import ALLOWED_BODY, ALLOWED_DEPTH, ALLOWED_HEADERS

JSON_TYPE = b"Content-Type: application/json\r\n"
HOST = b"Host: localhost\r\n"


@attrs.frozen
class Malformed:
    """A request as bytes, and the status of the error that it gets; None: the connection is closed."""

    name: str
    raw: bytes
    status: int
    code: str | None = None

    def __str__(self) -> str:
        return self.name


def post(
    body: bytes, headers: bytes = JSON_TYPE, path: bytes = b"/v1/echo", *, length: int | None = None
) -> bytes:
    size = str(len(body) if length is None else length).encode()
    return (
        b"POST " + path + b" HTTP/1.1\r\n" + HOST + headers + b"Content-Length: " + size + b"\r\n\r\n" + body
    )


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"POST /v1/echo HTTP/1.1\r\n" + HOST + JSON_TYPE + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def get(path: bytes = b"/v1/nothing", headers: bytes = HOST, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET " + path + b" " + version + b"\r\n" + headers + b"\r\n"


def malformed_requests() -> list[Malformed]:
    """Return all rows, with unique names."""
    rows = [
        *not_json(),
        *not_allowed_json(),
        *wrong_types(),
        *too_large(),
        *wrong_headers(),
        *not_http(),
        *no_route(),
    ]
    assert len({row.name for row in rows}) == len(rows)
    return rows


def not_json() -> Iterator[Malformed]:
    texts = {
        "nothing": b"",
        "white space": b" \r\n\t ",
        "a brace": b"{",
        "a closing brace": b"}",
        "two values": b"{} {}",
        "text after the value": b'{"a": 1} x',
        "a trailing comma": b'{"a": 1,}',
        "a trailing comma in an array": b'{"a": [1,]}',
        "a missing comma": b'{"a": 1 "b": 2}',
        "a missing colon": b'{"a" 1}',
        "a missing value": b'{"a":}',
        "a missing name": b"{: 1}",
        "a name without quotes": b"{a: 1}",
        "a name that is a number": b"{1: 1}",
        "single quotes": b"{'a': 1}",
        "Python's None": b'{"a": None}',
        "Python's True": b'{"a": True}',
        "undefined": b'{"a": undefined}',
        "a comment": b'{"a": 1 /* one */}',
        "a line comment": b'// a\n{"a": 1}',
        "an open string": b'{"a": "b',
        "an open array": b'{"a": [1, 2',
        "a line break in a string": b'{"a": "b\nc"}',
        "a tab in a string": b'{"a": "b\tc"}',
        "a NUL in a string": b'{"a": "b\0c"}',
        "an unknown escape": b'{"a": "\\x41"}',
        "a short escape": b'{"a": "\\u12"}',
        "an escape without digits": b'{"a": "\\uzzzz"}',
        "a number with a plus": b'{"a": +1}',
        "a number with a leading zero": b'{"a": 01}',
        "a number with two points": b'{"a": 1.2.3}',
        "a number without digits after the point": b'{"a": 1.}',
        "a number that begins with a point": b'{"a": .5}',
        "a hexadecimal number": b'{"a": 0x10}',
        "a number with an underscore": b'{"a": 1_000}',
        "a bare minus": b'{"a": -}',
        "an exponent without digits": b'{"a": 1e}',
        "a form": b"prompt=hello&n=1",
        "XML": b"<prompt>hello</prompt>",
        "YAML": b"prompt: hello",
        "plain text": b"hello",
        "a pickle": b"\x80\x04\x95\x00\x00\x00.",
        "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
        "UTF-16": '{"a": 1}'.encode("utf-16"),
        "UTF-16 without a mark": '{"a": 1}'.encode("utf-16-le"),
        "UTF-32": '{"a": 1}'.encode("utf-32"),
        "Latin-1": '{"a": "é"}'.encode("latin-1"),
        "Shift JIS": '{"a": "日本"}'.encode("shift-jis"),
        "an overlong encoding": b'{"a": "\xc0\xaf"}',
        "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
        "half of a character": b'{"a": "\xe2\x82',
        "a byte that UTF-8 never has": b'{"a": "\xff"}',
        "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf{}",
        "only NUL bytes": b"\0" * 100,
    }
    for name, text in texts.items():
        yield Malformed(f"not JSON: {name}", post(text), 400, "invalid_json")
        if text and len(text) > 1:
            yield Malformed(f"not JSON, in chunks: {name}", chunked(text[:1], text[1:]), 400, "invalid_json")


def not_allowed_json() -> Iterator[Malformed]:
    texts = {
        "a name twice": b'{"a": 1, "a": 2}',
        "a name twice, deeper": b'{"m": [{"role": "user", "role": "system"}]}',
        "a name twice, escaped": b'{"a": 1, "\\u0061": 2}',
        "NaN": b'{"a": NaN}',
        "infinity": b'{"a": Infinity}',
        "negative infinity": b'{"a": [-Infinity]}',
        "a float that overflows": b'{"a": 1e999}',
        "a negative float that overflows": b'{"a": -1e999}',
        "a float of a thousand digits that overflows": b'{"a": ' + b"9" * 1000 + b".5}",
        "an integer of 21 digits": b'{"a": 100000000000000000000}',
        "an integer of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
        "a negative integer of 5,000 digits": b'{"a": -' + b"9" * 5000 + b"}",
        "a lone high surrogate": b'{"a": "\\ud83d"}',
        "a lone low surrogate": b'{"a": "\\ude00"}',
        "surrogates in the wrong order": b'{"a": "\\ude00\\ud83d"}',
        "a lone surrogate in a name": b'{"\\ud83d": 1}',
        "a lone surrogate in capitals": b'{"a": "\\UD83D \\uD83D"}',
        "deep arrays": b'{"a": ' + b"[" * ALLOWED_DEPTH + b"]" * ALLOWED_DEPTH + b"}",
        "deep objects": b'{"a":' * (ALLOWED_DEPTH + 1) + b"1" + b"}" * (ALLOWED_DEPTH + 1),
        "very deep arrays": b"[" * 10_000 + b"]" * 10_000,
        "very deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        "open arrays without an end": b"[" * 30_000,
    }
    for name, text in texts.items():
        yield Malformed(f"not allowed: {name}", post(text), 400, "invalid_json")


def wrong_types() -> Iterator[Malformed]:
    values: list[object] = [None, True, False, 0, -1, 1.5, "", "text", [], [{}], [[]], [None]]
    for value in values:
        text = json.dumps(value)
        yield Malformed(f"not an object: {text}", post(text.encode()), 400, "invalid_json")


def too_large() -> Iterator[Malformed]:
    string = b'{"a": "' + b"x" * ALLOWED_BODY + b'"}'
    yield Malformed("too large", post(string), 413, "request_too_large")
    yield Malformed("too large by one byte", post(b" " * (ALLOWED_BODY + 1)), 413, "request_too_large")
    yield Malformed("too large in one chunk", chunked(string), 413, "request_too_large")
    yield Malformed("too large in chunks", chunked(*[b"x" * 1000] * 70), 413, "request_too_large")
    yield Malformed(
        "too large without an end", chunked(*[b"x" * 1000] * 70, end=b""), 413, "request_too_large"
    )
    for digits in (10, 15, 19):
        raw = post(b"{}", length=int("9" * digits))
        yield Malformed(f"a length of {digits} digits", raw, 413, "request_too_large")
    yield Malformed("a length of 100 digits", post(b"{}", length=int("9" * 100)), 400)
    padding = b"X-Padding: " + b"x" * 2 * ALLOWED_HEADERS + b"\r\n"
    yield Malformed("a long header", get(headers=HOST + padding), 431, "headers_too_large")
    yield Malformed(
        "many headers", get(headers=HOST + b"X-A: b\r\n" * ALLOWED_HEADERS), 431, "headers_too_large"
    )
    yield Malformed("a long path", get(b"/" + b"a" * 2 * ALLOWED_HEADERS), 431, "headers_too_large")
    yield Malformed("a long query", get(b"/v1/echo?" + b"a" * 2 * ALLOWED_HEADERS), 431, "headers_too_large")
    yield Malformed("a long name of a header", get(headers=HOST + b"x" * 2 * ALLOWED_HEADERS), 431)
    yield Malformed("a long line without an end", b"x" * 2 * ALLOWED_HEADERS, 431, "headers_too_large")


def wrong_headers() -> Iterator[Malformed]:
    types = {
        "no type": b"",
        "an empty type": b"Content-Type: \r\n",
        "a form": b"Content-Type: application/x-www-form-urlencoded\r\n",
        "multipart": b"Content-Type: multipart/form-data; boundary=x\r\n",
        "plain text": b"Content-Type: text/plain\r\n",
        "text/json": b"Content-Type: text/json\r\n",
        "JSON Lines": b"Content-Type: application/jsonl\r\n",
        "JSON in the parameters": b"Content-Type: text/plain; application/json\r\n",
        "a longer type": b"Content-Type: application/json-patch+json\r\n",
        "Latin-1": b"Content-Type: application/json; charset=iso-8859-1\r\n",
        "UTF-16": b'Content-Type: application/json; charset="utf-16"\r\n',
        "gzip": JSON_TYPE + b"Content-Encoding: gzip\r\n",
        "br": JSON_TYPE + b"Content-Encoding: br\r\n",
        "an unknown encoding": JSON_TYPE + b"Content-Encoding: x\r\n",
        "identity and gzip": JSON_TYPE + b"Content-Encoding: identity, gzip\r\n",
    }
    for name, headers in types.items():
        yield Malformed(f"type: {name}", post(b"{}", headers), 415, "unsupported_media_type")
    both = post(b"0\r\n\r\n", JSON_TYPE + b"Transfer-Encoding: chunked\r\n")
    yield Malformed("two lengths: chunked and Content-Length", both, 400)
    start = b"POST /v1/echo HTTP/1.1\r\n" + HOST + JSON_TYPE
    lengths = (b"-1", b"+2", b"0x2", b"2.0", b"two", b"", b"1 2", b"2, 3", b"\xc2\xb2", b"1e2")
    for length in lengths:
        raw = start + b"Content-Length: " + length + b"\r\n\r\n{}"
        yield Malformed(f"a length of {length!r}", raw, 400)
    yield Malformed("two lengths", start + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400)
    codings = {
        b"gzip": 501,
        b"chunked, gzip": 501,
        b"gzip, chunked": 501,
        b"identity": 501,
        b"chunked, chunked": 501,
    }
    for coding, status in codings.items():
        raw = start + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
        yield Malformed(f"a transfer encoding of {coding!r}", raw, status)
    hosts = {
        "no host": (b"", 400),
        "two hosts": (HOST + HOST, 400),
        "an empty host": (b"Host: \r\n", 400),
        "a host with a user": (b"Host: user@localhost\r\n", 400),
        "a host with a path": (b"Host: localhost/x\r\n", 400),
        "a host with two ports": (b"Host: localhost:1:2\r\n", 400),
        "a port of letters": (b"Host: localhost:http\r\n", 400),
        "a host of other bytes": (b"Host: \xff\xfe\r\n", 400),
        "a long host": (b"Host: " + b"a" * 300 + b"\r\n", 400),
        "an open bracket": (b"Host: [::1\r\n", 400),
        "another name": (b"Host: evil.example\r\n", 403),
        "another name with a port": (b"Host: evil.example:8000\r\n", 403),
        "a name that begins with localhost": (b"Host: localhost.evil.example\r\n", 403),
        "a name that ends with localhost": (b"Host: evil-localhost\r\n", 403),
        "a name that looks like an address": (b"Host: 127.0.0.1.evil.example\r\n", 403),
        "a decimal address": (b"Host: 2130706433\r\n", 403),
        "an octal address": (b"Host: 0177.0.0.1\r\n", 403),
    }
    for name, (headers, status) in hosts.items():
        yield Malformed(f"host: {name}", get(headers=headers), status)
    origins = (
        b"http://evil.example",
        b"null",
        b"https://localhost.evil.example",
        b"http://localhost:1",
        b"file://",
        b"x",
    )
    for origin in origins:
        raw = post(b"{}", JSON_TYPE + b"Origin: " + origin + b"\r\n")
        yield Malformed(f"origin: {origin.decode()}", raw, 403, "origin_not_allowed")
    preflight = b"Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
    raw = b"OPTIONS /v1/echo HTTP/1.1\r\n" + HOST + preflight + b"\r\n"
    yield Malformed("origin: a preflight request", raw, 403, "origin_not_allowed")


def not_http() -> Iterator[Malformed]:
    texts = {
        "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
        "an SSH greeting": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "random bytes": bytes(range(128, 256)) + b"\r\n\r\n",
        "NUL bytes": bytes(64) + b"\r\n\r\n",
        "a line of text": b"hello\r\n\r\n",
        "a method only": b"GET\r\n\r\n",
        "no version": b"GET /\r\n\r\n",
        "version X": get(version=b"HTTP/X"),
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a space in the path": get(b"/v1/ echo"),
        "other bytes in the path": get(b"/v1/\xff"),
        "a control character in the path": get(b"/v1/\x01"),
        "a method with a space": b"GE T / HTTP/1.1\r\n" + HOST + b"\r\n",
        "a method with a brace": b"G{T / HTTP/1.1\r\n" + HOST + b"\r\n",
        "a header without a colon": get(headers=HOST + b"nonsense\r\n"),
        "a header without a name": get(headers=HOST + b": x\r\n"),
        "a name with a space": get(headers=HOST + b"X A: b\r\n"),
        "a space before the colon": get(headers=HOST + b"X-A : b\r\n"),
        "a name with a control character": get(headers=HOST + b"X\x00A: b\r\n"),
        "a value with NUL": get(headers=HOST + b"X-A: \x00\r\n"),
        "a folded first header": b"GET / HTTP/1.1\r\n folded\r\n" + HOST + b"\r\n",
    }
    for name, text in texts.items():
        yield Malformed(f"not HTTP: {name}", text, 400)
    chunks = {
        "a size of letters": b"zz\r\n{}\r\n0\r\n\r\n",
        "a negative size": b"-2\r\n{}\r\n0\r\n\r\n",
        "an empty size": b"\r\n{}\r\n0\r\n\r\n",
        "a size of 40 digits": b"f" * 40 + b"\r\n{}\r\n",
        "a chunk that is longer than its size": b"1\r\n{}\r\n0\r\n\r\n",
        "a size with a sign": b"+2\r\n{}\r\n0\r\n\r\n",
    }
    for name, text in chunks.items():
        yield Malformed(f"chunks: {name}", chunked(end=text), 400)


def no_route() -> Iterator[Malformed]:
    for path in (
        b"/v2",
        b"/v1",
        b"/v1/",
        b"/V1/echo",
        b"//v1/echo",
        b"/v1/%65cho%00",
        b"/../etc/passwd",
        b"/%2e%2e/x",
        b"*",
    ):
        yield Malformed(f"no route: {path.decode()}", get(path), 404, "not_found")
    yield Malformed("no route: an absolute URL", get(b"http://evil.example/v1/echo"), 404, "not_found")
    for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"BREW", b"get"):
        raw = method + b" /v1/echo HTTP/1.1\r\n" + HOST + b"\r\n"
        yield Malformed(f"no method: {method.decode()}", raw, 405, "method_not_allowed")
    for path in (b"/health", b"/health/live", b"/metrics"):
        yield Malformed(f"no method: POST {path.decode()}", post(b"{}", path=path), 405, "method_not_allowed")
