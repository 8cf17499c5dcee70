"""The routes of the server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from litgpt.application.serving.served_model import ServedModel
from litgpt.server.context import ServerContext
from litgpt.server.openai.completions import chat_completions, completions
from litgpt.server.openai.models import get_model, list_models
from litgpt.server.page.page import page_route
from litgpt.server.settings import ServerSettings


def create_app(model: ServedModel, settings: ServerSettings) -> Starlette:
    """Return the app of a model, without the checks of `ProtectedApp`; its `state.litgpt` is the context."""
    context = ServerContext(model, settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        context.start()
        try:
            yield
        finally:
            context.stop()

    app = Starlette(routes=[page_route(), *_ROUTES], lifespan=lifespan)
    app.state.litgpt = context
    return app


_ROUTES = [
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]
