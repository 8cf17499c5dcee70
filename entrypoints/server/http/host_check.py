"""Refuse requests for another host's name, as a web page sends them that rebinds its name to this machine."""

import re
import socket

from starlette.types import ASGIApp, Receive, Scope, Send

from litgpt.server.openai.errors import RequestRefused
from litgpt.server.settings import ServerSettings, as_address

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_.-]{1,253})(:\d{1,5})?")


class HostCheck:
    """Middleware that accepts the `Host` headers that can only mean this server.

    An address is accepted, since only a name can be rebound. A name must be `localhost`, the host that the
    server listens on, or one of `allowed_hosts`. A server for all networks that needs a key accepts any name:
    a web page does not have the key.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self._accepts_all = settings.is_wildcard and bool(settings.api_keys) and not settings.allowed_hosts
        names = {"localhost", settings.host, *settings.allowed_hosts}
        if settings.is_wildcard:
            names.add(socket.gethostname())
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        match = _HOST.fullmatch(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if match is None:
            raise RequestRefused(400, "The request needs one valid Host header.", code="invalid_host")
        name = match[1].lower().rstrip(".")
        if not (self._accepts_all or name in self._names or as_address(name) is not None):
            message = (
                f"This server does not answer for the host {name!r}. Use its address, or start it with "
                f"--allowed-host {name} if that is one of its names."
            )
            raise RequestRefused(403, message, code="host_not_allowed")
        await self.app(scope, receive, send)
