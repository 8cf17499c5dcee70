"""Requests to an OpenAI-compatible server with `http.client`."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

import attrs

from litgpt.cli.remote.errors import ConnectionLost, RequestFailed, ServerUnreachable, refused
from litgpt.cli.remote.sse import read_events
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation

MAX_BODY = 16 << 20
"""The largest body of a response that is not a stream, in bytes."""
CONNECT_SECONDS = 20.0
SILENCE_SECONDS = 600.0
"""How long a server may send nothing: some read a long prompt without a sign of life."""


@attrs.frozen
class ServerClient:
    """Requests to one server, each on a connection of its own, which is closed at its end.

    Attributes:
        scheme: `http` or `https`.
        host: The host name or address.
        port: The TCP port.
        path: The path before `/v1`, without a slash at its end.
        api_key: The key that is sent with each request; None: none is.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    api_key: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str, api_key: str | None = None) -> Self:
        """Return the client of a URL such as `http://127.0.0.1:8000`; a `/v1` at its end is optional.

        Raises:
            InvalidArgument: The URL is not one of http or https.
            UnsupportedOperation: The URL has a password, or the key has characters that headers cannot have.
        """
        expected = "the URL of a server, such as http://127.0.0.1:8000"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidArgument("url", url, expected) from error
        if parts.username is not None or parts.password is not None:
            raise UnsupportedOperation(
                "A user name or password in --url", "pass a key with --api-key or in LITGPT_API_KEY."
            )
        printable = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not printable or parts.query:
            raise InvalidArgument("url", url, expected)
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise UnsupportedOperation(
                "Sending this API key", "it has characters other than printable ASCII. Copy it again."
            )
        path = parts.path.rstrip("/").removesuffix("/v1")
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname, default if port is None else port, path, api_key or None)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def exposes_key(self) -> bool:
        """Whether the key travels over a network without encryption."""
        return self.api_key is not None and self.scheme == "http" and not _is_loopback(self.host)

    def get(self, path: str) -> Any:
        """Return the JSON of a GET request; raises the errors of `stream`."""
        with self._response("GET", path, None) as response:
            return _json(response)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON that answers a POST request; raises the errors of `stream`."""
        with self._response("POST", path, body) as response:
            return _json(response)

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Iterator[str]]:
        """Send a POST request and yield its events, as `read_events` does; the end closes the connection.

        Raises:
            ServerUnreachable: The connection failed.
            ConnectionLost: It ended in the middle of the answer.
            RequestFailed: The server refused the request, or its answer is not a stream of events.
        """
        with self._response("POST", path, body) as response:
            if response.headers.get_content_type() != "text/event-stream":
                raise RequestFailed(
                    "The server did not send a stream of events.",
                    "Check that --url is the root of an OpenAI-compatible server.",
                )
            yield read_events(response)

    @contextmanager
    def _response(self, method: str, path: str, body: Mapping[str, Any] | None) -> Iterator[HTTPResponse]:
        kind = HTTPSConnection if self.scheme == "https" else HTTPConnection
        headers = {"Accept": "application/json, text/event-stream", "Connection": "close"}
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        data = None
        if body is not None:
            # surrogates are escaped: they cannot be encoded
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        with closing(kind(self.host, self.port, timeout=CONNECT_SECONDS)) as connection:
            try:
                connection.connect()
                connection.sock.settimeout(SILENCE_SECONDS)
            except OSError as error:
                raise ServerUnreachable(self.url, _reason(error), _remedy(error)) from error
            try:
                connection.request(method, self.path + path, data, headers)
                with connection.getresponse() as response:
                    if response.status != 200:
                        raise refused(
                            response.status,
                            response.read(MAX_BODY),
                            response.headers.get("Retry-After"),
                            has_key=self.api_key is not None,
                        )
                    yield response
            except (OSError, HTTPException) as error:
                if isinstance(error, ConnectionLost | ServerUnreachable):
                    raise
                raise ConnectionLost(_reason(error)) from error


def _json(response: HTTPResponse) -> Any:
    body = response.read(MAX_BODY + 1)
    try:
        if len(body) <= MAX_BODY:
            return json.loads(body)
    except (ValueError, RecursionError):
        pass
    raise RequestFailed(
        "The server's answer is not JSON, or is too long.",
        "Check that --url is the root of an OpenAI-compatible server.",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _remedy(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "If it has a certificate of its own, set the variable SSL_CERT_FILE to its file, or to that of "
            "the authority that signed it. The certificate must have the host name of --url."
        )
    if isinstance(error, ssl.SSLError):
        return "If the server has no certificate, use http:// in --url."
    return "Start it with `litgpt serve`, or check the address and port of --url."


def _reason(error: Exception) -> str:
    """Return the reason without its number, to be followed by a period."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message.rstrip('.')})"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS as expected"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).rstrip(".")
