"""The routes of the server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from litgpt.application.serving.served_model import ServedModel
from litgpt.server.api.openapi import openapi_route
from litgpt.server.api.predict import PredictRoute
from litgpt.server.api.scoring import rerank, score
from litgpt.server.api.tokens import apply_template, detokenize, tokenize
from litgpt.server.context import ServerContext
from litgpt.server.openai.completions import chat_completions, completions
from litgpt.server.openai.embeddings import embeddings
from litgpt.server.openai.models import get_model, list_models
from litgpt.server.openai.responses import responses
from litgpt.server.page.page import page_route
from litgpt.server.settings import ServerSettings

_PREDICT = PredictRoute()


def create_app(
    model: ServedModel, settings: ServerSettings, *, predict: PredictRoute | None = _PREDICT
) -> Starlette:
    """Return the app of a model, without the checks of `ProtectedApp`; its `state.litgpt` is the context.

    Args:
        model: The model.
        settings: The limits.
        predict: LitGPT's own route besides OpenAI's API; None: without it.
    """
    context = ServerContext(model, settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        context.start()
        try:
            yield
        finally:
            await asyncio.to_thread(context.stop)  # waits for the end of a step

    own = [openapi_route(None if predict is None else predict.path)]
    if predict is not None:
        own.append(predict.route())
    app = Starlette(routes=[page_route(), *_ROUTES, *own], lifespan=lifespan)
    app.router.redirect_slashes = (
        False  # the address would be that of a replica, or of the host behind a proxy
    )
    app.state.litgpt = context
    return app


_ROUTES = [
    Route("/v1/chat/completions", chat_completions, methods=["POST"]),
    Route("/v1/completions", completions, methods=["POST"]),
    Route("/v1/responses", responses, methods=["POST"]),
    Route("/v1/embeddings", embeddings, methods=["POST"]),
    Route("/v1/score", score, methods=["POST"]),
    Route("/v1/rerank", rerank, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/apply-template", apply_template, methods=["POST"]),
]
