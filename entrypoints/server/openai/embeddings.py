"""`POST /v1/embeddings`."""

from starlette.requests import Request
from starlette.responses import Response

from litgpt.application.openai.text_answers import embeddings_body
from litgpt.application.openai.text_requests import read_embeddings
from litgpt.server.context import context_of
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import record_of
from litgpt.server.json_response import JSONResponse
from litgpt.server.sse import until_disconnect


async def embeddings(request: Request) -> Response:
    """Embed one or several texts."""
    call, context, record = (
        read_embeddings(await read_json(request)),
        context_of(request),
        record_of(request.scope),
    )
    context.check_without_adapter(call.model)
    record.model = call.model or context.model.name
    sequences = await until_disconnect(request, context.scoring.encode("input", call.inputs, eos=True))
    tokens = record.prompt_tokens = sum(map(len, sequences))
    rows = await until_disconnect(request, context.scoring.embed(sequences, call.pooling))
    return JSONResponse(embeddings_body(call, rows, record.model, tokens))
