"""Run an app with uvicorn: in the main thread until a signal, or in a thread of its own."""

import asyncio
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from litgpt.domain.errors import UnsupportedOperation
from litgpt.server.http.in_flight import Admission
from litgpt.server.http.protect import ProtectedApp
from litgpt.server.listening import listen, url_of
from litgpt.server.metrics import EngineProbe
from litgpt.server.protocol import protocol_class
from litgpt.server.settings import ServerSettings

_FLUSH_SECONDS = 5
"""How long the last bytes of ended answers may take to be read."""


def run(
    app: ASGIApp,
    settings: ServerSettings,
    *,
    engine: EngineProbe | None = None,
    listener: socket.socket | None = None,
    on_ready: Callable[[str], None] = lambda url: None,  # noqa: ARG005 - does nothing
) -> None:
    """Serve an app in the main thread until SIGTERM or SIGINT.

    The first signal ends the server once the running answers are finished, or after the grace period; until
    then, further requests and `/health` get the status 503. A second signal ends it at once.

    Args:
        app: An ASGI app, which is put behind the checks of `ProtectedApp`.
        settings: The address, who may use the server, and the limits.
        engine: What `/health` and `/metrics` report on.
        listener: The socket of `listen`, if it was opened before the model was loaded.
        on_ready: Called with the URL when requests are answered.

    Raises:
        UnsupportedOperation: The port is in use.
        SystemExit: A second signal was received; the status is 128 and its number.
    """
    listener = listen(settings) if listener is None else listener
    url = url_of(settings, listener)
    server = _Server(ProtectedApp(app, settings, engine), settings, lambda: on_ready(url))
    _log_to_stderr()
    server.run([listener])
    if server.forced_by is not None:
        sys.exit(128 + server.forced_by)


def start_in_thread(
    app: ASGIApp, settings: ServerSettings, *, engine: EngineProbe | None = None
) -> "RunningServer":
    """Serve an app in a thread of its own, as in a notebook, and return when requests are answered.

    Args:
        app: An ASGI app, which is put behind the checks of `ProtectedApp`.
        settings: The address, who may use the server, and the limits.
        engine: What `/health` and `/metrics` report on.

    Raises:
        UnsupportedOperation: The port is in use, or the app could not be started.
    """
    listener = listen(settings)
    ready = threading.Event()
    server = _Server(ProtectedApp(app, settings, engine), settings, ready.set)

    def serve() -> None:
        try:
            server.run([listener])
        except SystemExit:  # uvicorn's way to say that the app did not start; the reason is in its log
            pass
        finally:
            listener.close()
            ready.set()

    # A daemon, so that a notebook or a script that does not close the server can end.
    thread = threading.Thread(target=serve, name="litgpt-server", daemon=True)
    url = url_of(settings, listener)
    thread.start()
    ready.wait()
    if not server.started:
        thread.join()
        raise UnsupportedOperation(
            "Starting the server", "the app failed at its start. The reason is in the log."
        )
    return RunningServer(url, server, thread)


class RunningServer:
    """A server in a thread of this process, which ends with `close()` or at the end of a `with` block.

    Attributes:
        url: The address of the server, such as `http://127.0.0.1:8000`; OpenAI's clients add `/v1`.
    """

    def __init__(self, url: str, server: "_Server", thread: threading.Thread) -> None:
        self.url, self._server, self._thread = url, server, thread

    @property
    def is_running(self) -> bool:
        """Whether the server still answers requests."""
        return self._thread.is_alive()

    def drain(self) -> None:
        """Accept no further requests, and end once the running ones are finished, without waiting for it."""
        self._server.drain()

    def close(self) -> None:
        """Finish the running answers, for at most the grace period, and end the server; may be repeated."""
        self.drain()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunningServer(url={self.url!r}, {'running' if self.is_running else 'closed'})"


class _Server(uvicorn.Server):
    """uvicorn's server, which keeps its port open while it drains.

    Attributes:
        forced_by: The signal that ended it before the running answers were finished; None: none did.
    """

    def __init__(self, app: ProtectedApp, settings: ServerSettings, on_ready: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=protocol_class(settings),
            ws="none",
            loop="asyncio",
            lifespan="auto",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,  # anyone on this machine could claim another address
            server_header=False,
            h11_max_incomplete_event_size=settings.max_header_bytes,
            timeout_graceful_shutdown=_FLUSH_SECONDS,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
        )
        super().__init__(config)
        self._admission: Admission = app.admission
        self._grace, self._on_ready = settings.grace_period, on_ready
        self._drain_until: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.forced_by: int | None = None

    def drain(self) -> None:
        """End the server when the running answers are finished; from any thread."""
        if self._drain_until is None:
            self._drain_until = time.monotonic() + self._grace
            self._admission.drain()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer requests."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end, which uvicorn asks ten times a second."""
        if self._drain_until is not None:
            is_late = time.monotonic() > self._drain_until
            if is_late:
                self._admission.end()
            self.should_exit = self.should_exit or is_late or not self._admission.active
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Drain at the first signal, end the answers at the second, and wait for nothing at the third."""
        # Not uvicorn's: it would send itself the signal again after the end, before `with` blocks are left.
        if self._drain_until is None:
            self.drain()
        elif self.forced_by is None:
            self.forced_by = sig
            self.should_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._admission.end)
        else:
            sys.exit(128 + sig)


def _log_to_stderr() -> None:
    """Write the log of the server to stderr, unless the program has configured it."""
    log = logging.getLogger("litgpt.server")
    if log.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
