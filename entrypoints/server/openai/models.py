"""`GET /v1/models` and `GET /v1/models/{model}`."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from litgpt.domain.tool_calls.known_formats import detect_format
from litgpt.server.context import ServerContext, context_of
from litgpt.server.json_response import JSONResponse


async def list_models(request: Request) -> Response:
    """List the model and its adapters."""
    context = context_of(request)
    models = await asyncio.to_thread(lambda: [_model(context, it) for it in context.model.names()])
    return JSONResponse({"object": "list", "data": models})


async def get_model(request: Request) -> Response:
    """Describe one of them."""
    context, name = context_of(request), request.path_params["model"]
    context.model.adapter_of(name)
    return JSONResponse(await asyncio.to_thread(_model, context, name))


def _model(context: ServerContext, name: str) -> dict[str, Any]:
    model = context.model
    loaded = model.loaded()
    params = loaded.sampling_params
    template = loaded.tokenizer.template_source() if loaded.prompt_style is None else None
    syntax = None if template is None else detect_format(template, tools=False)
    return {
        "id": name,
        "object": "model",
        "created": context.created,
        "owned_by": "litgpt",
        "parent": None if name == model.name else model.name,
        "context_length": model.context,
        "sampling": {
            "temperature": params.temperature,
            "top_k": params.top_k,
            "top_p": params.top_p,
            "min_p": params.min_p,
            "typical_p": params.typical_p,
            "repetition_penalty": params.repetition_penalty,
        },
        "size_bytes": model.nbytes,
        "reasoning": syntax is not None and syntax.reasoning is not None,
    }
