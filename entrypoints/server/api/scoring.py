"""`POST /v1/score` and `POST /v1/rerank`."""

from starlette.requests import Request
from starlette.responses import Response

from litgpt.application.openai.text_answers import rerank_body, score_body
from litgpt.application.openai.text_requests import read_rerank, read_score
from litgpt.server.context import context_of
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import record_of
from litgpt.server.json_response import JSONResponse
from litgpt.server.sse import until_disconnect


async def score(request: Request) -> Response:
    """Return the log-probabilities of continuations."""
    call, context, record = (
        read_score(await read_json(request)),
        context_of(request),
        record_of(request.scope),
    )
    context.check_without_adapter(call.model)
    record.model = call.model or context.model.name
    texts = [prompt + it for prompt, continuations in call.pairs for it in continuations]
    encoded = await until_disconnect(request, context.scoring.encode("continuations", texts))
    tokens = record.prompt_tokens = sum(map(len, encoded))
    scores = await until_disconnect(request, context.scoring.score(call.pairs))
    return JSONResponse(score_body(scores, record.model, tokens))


async def rerank(request: Request) -> Response:
    """Return documents by their relevance to a query."""
    call, context, record = (
        read_rerank(await read_json(request)),
        context_of(request),
        record_of(request.scope),
    )
    context.check_without_adapter(call.model)
    record.model = call.model or context.model.name
    ranking = context.scoring.rerank(call.query, call.documents, call.method, call.instruction)
    ranked, tokens = await until_disconnect(request, ranking)
    record.prompt_tokens = tokens
    return JSONResponse(rerank_body(call, ranked, record.model, tokens))
