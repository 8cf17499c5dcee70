"""`GET /openapi.json`."""

from importlib.metadata import version

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from litgpt.application.openai.description.endpoints import ENDPOINTS, PREDICT
from litgpt.application.openai.description.openapi import openapi_document
from litgpt.server.json_response import JSONResponse


def openapi_route(predict_path: str | None) -> Route:
    """Return the route of the document that describes all routes of the API.

    Args:
        predict_path: The path of LitGPT's own route; None: the server does not have it.
    """
    predict = () if predict_path is None else (attrs.evolve(PREDICT, path=predict_path),)
    document = openapi_document((*ENDPOINTS, *predict), version("litgpt"))

    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    return Route("/openapi.json", openapi, methods=["GET"])
