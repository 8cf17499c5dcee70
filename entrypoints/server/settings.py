"""The settings of a server: its address, who may use it, and its limits."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.formatting.redaction import Redacted, is_valid_token
from litgpt.domain.validators import as_real, integer, integer_field, is_flag, local_path, real_field

MIB = 1024 * 1024

_ORIGIN = re.compile(r"https?://[A-Za-z0-9_.-]+(:\d{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_HOST_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_LONGEST_KEY = 512


def _to_tuple(value: Any, field: "attrs.Attribute[Any]") -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise WrongType(field.name, Redacted() if field.name == "api_keys" else value, "a list of strings")
    return tuple(value)


def _are_keys(_: object, field: "attrs.Attribute[Any]", keys: tuple[Any, ...]) -> None:
    for key in keys:
        if not isinstance(key, str) or not key or len(key) > _LONGEST_KEY or not is_valid_token(key):
            expected = f"strings of 1 to {_LONGEST_KEY} ASCII characters without spaces"
            raise InvalidArgument(field.name, Redacted(), expected)


def _are_origins(_: object, field: "attrs.Attribute[Any]", origins: tuple[Any, ...]) -> None:
    for origin in origins:
        if origin != "*" and not (isinstance(origin, str) and _ORIGIN.fullmatch(origin)):
            expected = (
                "origins such as https://app.example.com or http://localhost:3000, without a path, or *"
            )
            raise InvalidArgument(field.name, origin, expected)


def _are_host_names(_: object, field: "attrs.Attribute[Any]", hosts: tuple[Any, ...]) -> None:
    for host in hosts:
        if not _is_host_name(host):
            expected = "host names such as llm.example.com, without a scheme and a port"
            raise InvalidArgument(field.name, host, expected)


def _is_host(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    if not _is_host_name(value):
        expected = "an address or a name of this machine, such as 127.0.0.1 or 0.0.0.0, without a port"
        raise InvalidArgument(field.name, value, expected)


def _is_host_name(value: object) -> bool:
    return isinstance(value, str) and (bool(_HOST_NAME.fullmatch(value)) or as_address(value) is not None)


def _to_path(value: Any, field: "attrs.Attribute[Any]") -> Path | None:
    return None if value is None else local_path(field.name, value)


def _to_port(value: Any, field: "attrs.Attribute[Any]") -> int:
    expected = "an integer from 0 to 65535, where 0 selects a free port"
    if integer(field.name, value, 0, expected) > 65535:
        raise InvalidArgument(field.name, value, expected)
    return int(value)


_STRINGS = attrs.Converter(_to_tuple, takes_field=True)
_PATH = attrs.Converter(_to_path, takes_field=True)
_PORT = attrs.Converter(_to_port, takes_field=True)


def _field(default: Any, convert: Any, **options: Any) -> Any:
    # Any, because mypy's plugin knows no converters but functions.
    return attrs.field(default=default, converter=convert, **options)


@attrs.frozen(kw_only=True)
class ServerSettings:
    """The settings of a server. The defaults serve this machine only.

    Args:
        host: The address to listen on; `0.0.0.0` or `::` for all networks of the machine.
        port: The TCP port; 0 selects a free one.
        api_keys: The keys of which a request must have one; empty: no key is needed.
        allowed_hosts: Further names under which clients reach the server, as behind a proxy.
        cors_origins: The origins whose web pages may use the server; `*` for all.
        tls_cert: A PEM file with the certificate and its chain; the server then speaks HTTPS only.
        tls_key: A PEM file with the private key; None: it is in `tls_cert`.
        max_body_bytes: The longest body of a request, in bytes.
        max_header_bytes: The longest request line and headers together, in bytes.
        max_json_depth: The deepest nesting of arrays and objects in a body.
        arrival_timeout: The longest time that the headers of a request may take to arrive, and then its body,
            in seconds.
        max_connections: The connections that may be open at once.
        max_queue: The requests that may wait while others run; further ones get the status 429.
        max_answer_tokens: The most tokens of an answer; None: up to the context length.
        request_timeout: The longest time that a request may take, in seconds; None: no limit.
        grace_period: How long running answers may take to finish once the server stops, in seconds.
        log_prompts: Whether the log has the bodies of requests, with their prompts.

    Raises:
        InvalidArgument: A setting is not valid.
    """

    host: str = attrs.field(default="127.0.0.1", validator=_is_host)
    port: int = _field(8000, _PORT)
    api_keys: Sequence[str] = _field((), _STRINGS, validator=_are_keys, repr=False)
    allowed_hosts: Sequence[str] = _field((), _STRINGS, validator=_are_host_names)
    cors_origins: Sequence[str] = _field((), _STRINGS, validator=_are_origins)
    tls_cert: Path | None = _field(None, _PATH)  # noqa: RUF009 - a field, not a value
    tls_key: Path | None = _field(None, _PATH)  # noqa: RUF009 - a field, not a value
    max_body_bytes: int = integer_field(32 * MIB, 1)
    max_header_bytes: int = integer_field(32 * 1024, 1024)
    max_json_depth: int = integer_field(64, 1)
    arrival_timeout: float = real_field(30.0)
    max_connections: int = integer_field(1000, 1)
    max_queue: int = integer_field(128, 0)
    max_answer_tokens: int | None = integer_field(None, 1)
    request_timeout: float | None = _field(None, as_real(none=True))
    grace_period: float = real_field(30.0)
    log_prompts: bool = attrs.field(default=False, validator=is_flag)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        if self.tls_key is not None and self.tls_cert is None:
            expected = "omitted, or passed together with tls_cert=FILE"
            raise InvalidArgument("tls_key", str(self.tls_key), expected)

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine reach the server."""
        if self.host == "localhost":
            return True
        address = as_address(self.host)
        return address is not None and address.is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether the server listens on all networks of the machine."""
        address = as_address(self.host)
        return address is not None and address.is_unspecified


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address, which may be in brackets; None for a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
