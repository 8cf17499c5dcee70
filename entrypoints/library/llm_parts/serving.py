"""`LLM.serve`: an HTTP server for the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, overload

from litgpt.application.serving.served_model import ServedModel
from litgpt.domain.progress import Notice
from litgpt.domain.validation.call_signatures import public_function
from litgpt.llm_parts.lora import LoraMixin

if TYPE_CHECKING:
    from litgpt.server.run import RunningServer


class ServingMixin(LoraMixin):
    """An HTTP server."""

    @overload
    def serve(
        self,
        *,
        host: str = ...,
        port: int = ...,
        block: Literal[False],
        api_keys: Sequence[str] = ...,
        name: str | None = ...,
        grace_period: float = ...,
    ) -> "RunningServer": ...
    @overload
    def serve(
        self,
        *,
        host: str = ...,
        port: int = ...,
        block: Literal[True] = ...,
        api_keys: Sequence[str] = ...,
        name: str | None = ...,
        grace_period: float = ...,
    ) -> None: ...
    @public_function()
    def serve(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        block: bool = True,
        api_keys: Sequence[str] = (),
        name: str | None = None,
        grace_period: float = 30.0,
    ) -> "RunningServer | None":
        """Serve the model over HTTP: OpenAI's API under `/v1`, and a page for chats (docs/serving.md).

            with llm.serve(port=0, block=False) as server:
                client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")

        Requests of all clients run in one batch. `litgpt serve` has further options.

        Args:
            host: The address to listen on; `0.0.0.0` for all networks of the machine.
            port: The TCP port; 0 selects a free one.
            block: Whether to serve until a signal (Ctrl+C). False: serve in a thread, until `close()` of the
                server or of the model.
            api_keys: The keys of which a request must have one; empty: no key is needed.
            name: The name of the model in the API; None: that of its checkpoint.
            grace_period: How long running answers may take to finish once the server is closed, in seconds.

        Returns:
            The running server, with its `url`; None if `block`.

        Raises:
            NotInstalled: The server needs `pip install "litgpt[serve]"`.
            NotDistributed: The model is not on a device yet.
            InvalidArgument: An argument is not valid.
            UnsupportedOperation: The port is in use.
        """
        from litgpt.server.listening import require_packages

        require_packages()
        from litgpt.server.app import create_app
        from litgpt.server.run import run, start_in_thread
        from litgpt.server.settings import ServerSettings
        from litgpt.server.startup_text import startup_text

        settings = ServerSettings(
            host=host, port=port, api_keys=cast("tuple[str, ...]", api_keys), grace_period=grace_period
        )
        served = self._served_model(name)
        app = create_app(served, settings)
        if block:
            run(
                app,
                settings,
                engine=app.state.litgpt,
                on_ready=lambda url: self._report(Notice(startup_text(served, settings, url))),
            )
            return None
        self._servers = [it for it in self._servers if it.is_running]
        server = start_in_thread(app, settings, engine=app.state.litgpt)
        self._servers.append(server)
        return server

    def _served_model(self, name: str | None = None) -> ServedModel:
        """Return the model as a server uses it."""
        generator = self._generator()
        return ServedModel(
            name=name or Path(self._loaded.checkpoint.name).name,
            loaded=lambda: self._loaded,
            generator=generator,
            compiler=self._services.constraint_compiler,
            version=lambda: (self._lock.version, self._weights_version()),
            using=self._lock.using,
            adapters=lambda: self.adapters,
            nbytes=getattr(self._placed, "nbytes", None),
        )
