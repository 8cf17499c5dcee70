"""Open the port of a server, and check its certificate, before a model is loaded."""

import errno
import os
import socket
import ssl
from importlib.util import find_spec
from pathlib import Path

from litgpt.domain.errors import InvalidArgument, MissingFile, NotInstalled, UnsupportedOperation
from litgpt.domain.validation.untrusted_files import error_message, printable
from litgpt.server.settings import ServerSettings, as_address

_BACKLOG = 1024


def require_packages() -> None:
    """Check that the packages of the server are installed.

    Raises:
        NotInstalled: One of them is not.
    """
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise NotInstalled("The server", package, 'pip install "litgpt[serve]"')


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens on the address of a server; clients wait until it is served.

    Raises:
        UnsupportedOperation: The port is in use, or needs rights that this user does not have.
        InvalidArgument: The host is not an address of this machine, or the certificate cannot be used.
    """
    check_certificate(settings)
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InvalidArgument("host", host, "an address or a name of this machine") from error
    family, kind, protocol, _, address = min(found, key=lambda it: it[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere, the option would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and settings.is_wildcard:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(_BACKLOG)  # now: on Linux, two sockets may be bound to a port until one listens
    except OSError as error:
        listener.close()
        raise _explained(error, settings) from error
    return listener


def _explained(error: OSError, settings: ServerSettings) -> Exception:
    requested = f"Listening on {_authority(settings.host, settings.port)}"
    if error.errno == errno.EADDRINUSE:
        free = f"port={settings.port + 1}" if settings.port < 65535 else "port=8000"
        reason = f"another program uses this port. Stop that program, or pass another port, such as {free}."
        return UnsupportedOperation(requested, reason)
    if error.errno in (errno.EACCES, errno.EPERM):
        reason = "this user may not use the port. Pass port=8000, or another one above 1023."
        return UnsupportedOperation(requested, reason)
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return InvalidArgument(
            "host", settings.host, "an address or a name of this machine, such as 127.0.0.1"
        )
    return UnsupportedOperation(requested, f"{error_message(error)}.")


def check_certificate(settings: ServerSettings) -> None:
    """Check that the certificate and the private key can be read and belong together.

    Raises:
        MissingFile: One of the files does not exist.
        InvalidArgument: They cannot be used.
    """
    if settings.tls_cert is None:
        return
    for name, path in (("tls_cert", settings.tls_cert), ("tls_key", settings.tls_key)):
        if path is not None:
            _check_readable(name, path)
    name, path = (
        ("tls_cert", settings.tls_cert) if settings.tls_key is None else ("tls_key", settings.tls_key)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            expected = f"the private key of the certificate in {printable(settings.tls_cert)}"
            raise InvalidArgument(name, str(path), expected) from error
        expected = "PEM files with a certificate and its private key, without a password"
        raise InvalidArgument("tls_cert", str(settings.tls_cert), expected) from error
    except _PasswordRequired as error:
        expected = "a private key without a password; `openssl pkey -in KEY -out NEW_KEY` removes it"
        raise InvalidArgument(name, str(path), expected) from error


def _check_readable(name: str, path: Path) -> None:
    if not path.exists():
        raise MissingFile(printable(path), f"it is the {name} of the server.")
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise InvalidArgument(name, str(path), "a PEM file that this user can read")


class _PasswordRequired(Exception):
    """A private key is encrypted; OpenSSL would ask for the password on the terminal."""


def _no_password() -> str:
    raise _PasswordRequired


def url_of(settings: ServerSettings, listener: socket.socket) -> str:
    """Return the URL under which clients on this machine reach a server, without a slash at the end."""
    host = settings.host
    if settings.is_wildcard:
        host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{_authority(host, listener.getsockname()[1])}"


def _authority(host: str, port: int) -> str:
    address = as_address(host)
    return f"[{host}]:{port}" if address is not None and address.version == 6 else f"{host}:{port}"
