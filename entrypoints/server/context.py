"""What the routes of a server share: the model's service and the settings."""

import time
from typing import Any

import attrs
from starlette.requests import Request

from litgpt.application.serving.scoring_service import ScoringService
from litgpt.application.serving.served_model import ServedModel
from litgpt.application.serving.service import CompletionService
from litgpt.domain.errors import InvalidArgument
from litgpt.server.metrics import EngineStatus
from litgpt.server.settings import ServerSettings


@attrs.define(eq=False)
class ServerContext:
    """The state of a server.

    Attributes:
        model: The model.
        settings: The settings.
        created: When the server was created, in seconds since 1970.
    """

    model: ServedModel
    settings: ServerSettings
    created: int = attrs.field(factory=lambda: int(time.time()))
    _service: CompletionService | None = attrs.field(default=None, init=False)
    _scoring: ScoringService | None = attrs.field(default=None, init=False)

    @property
    def service(self) -> CompletionService:
        assert self._service is not None  # noqa: S101 - between `start` and `stop`
        return self._service

    @property
    def scoring(self) -> ScoringService:
        assert self._scoring is not None  # noqa: S101 - between `start` and `stop`
        return self._scoring

    def start(self) -> None:
        """Start the engine; call it in the event loop."""
        self._service = CompletionService(
            self.model,
            max_queued=self.settings.max_queue,
            max_new_tokens=self.settings.max_answer_tokens,
        )
        self._scoring = ScoringService(self.model, max_queued=self.settings.max_queue)

    def stop(self) -> None:
        """End all answers and the engine's thread."""
        self.scoring.stop()
        self.service.engine.stop()

    def check_without_adapter(self, model: str | None) -> None:
        """Check that a request names the model itself, for what adapters do not change here.

        Raises:
            UnknownModel: The name is another one.
            InvalidArgument: It is that of an adapter, which would not be used.
        """
        if self.model.adapter_of(model) is not None:
            raise InvalidArgument("model", model, f"{self.model.name}: this route does not use adapters")

    def status(self) -> EngineStatus:
        """Return the state of the engine, for `/health` and `/metrics`."""
        if self._service is None:
            return EngineStatus(is_alive=False)
        stats = self._service.engine.stats()
        return EngineStatus(
            is_alive=stats.is_alive,
            running=stats.running,
            waiting=stats.waiting,
            kv_pages_used=stats.pages_used,
            kv_pages=stats.pages_total,
            step_seconds=stats.step_seconds,
        )


def context_of(request: Request) -> ServerContext:
    """Return the state of the server of a request."""
    state: Any = request.app.state
    context = state.litgpt
    assert isinstance(context, ServerContext)  # noqa: S101 - set by `create_app`
    return context
