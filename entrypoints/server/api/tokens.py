"""`POST /tokenize`, `POST /detokenize` and `POST /apply-template`."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from litgpt.application.openai.logprobs import token_text
from litgpt.application.openai.text_requests import (
    TokenizeCall,
    read_apply_template,
    read_detokenize,
    read_tokenize,
)
from litgpt.application.prepare_requests import make_prompt_renderer
from litgpt.application.render_prompt import RenderPrompt, to_messages
from litgpt.domain.errors import InvalidArgument
from litgpt.server.context import ServerContext, context_of
from litgpt.server.http.json_body import read_json
from litgpt.server.json_response import JSONResponse


async def tokenize(request: Request) -> Response:
    """Return the token ids of a text or a conversation."""
    call, context = read_tokenize(await read_json(request)), context_of(request)
    context.model.adapter_of(call.model)
    return JSONResponse(await asyncio.to_thread(_tokenize, context, call))


async def detokenize(request: Request) -> Response:
    """Return the text of token ids, with special tokens."""
    tokens, model = read_detokenize(await read_json(request))
    context = context_of(request)
    context.model.adapter_of(model)
    return JSONResponse({"content": await asyncio.to_thread(_detokenize, context, tokens)})


async def apply_template(request: Request) -> Response:
    """Return the prompt of a conversation."""
    call, context = read_apply_template(await read_json(request)), context_of(request)
    context.model.adapter_of(call.model)
    _, prompt = await asyncio.to_thread(_render, context, call, parse_special_tokens=True)
    return JSONResponse({"prompt": prompt})


def _tokenize(context: ServerContext, call: TokenizeCall) -> dict[str, Any]:
    tokenizer = context.model.loaded().tokenizer
    if call.content is None:
        renderer, prompt = _render(context, call)
        ids = renderer.encode(prompt)
    else:
        ids = tokenizer.encode(call.content)
    pieces = {"pieces": [token_text(token, tokenizer) for token in ids]} if call.pieces else {}
    return {"tokens": ids, "count": len(ids), **pieces}


def _detokenize(context: ServerContext, tokens: Sequence[int]) -> str:
    loaded = context.model.loaded()
    vocab_size = loaded.architecture.vocab_size
    if tokens and max(tokens) >= vocab_size:
        raise InvalidArgument("tokens", max(tokens), f"token ids from 0 to {vocab_size - 1}")
    return loaded.tokenizer.decode(tokens, include_special_tokens=True)


def _render(
    context: ServerContext, call: TokenizeCall, *, parse_special_tokens: bool | None = None
) -> tuple[RenderPrompt, str]:
    """Return the prompt of a conversation; its special tokens are escaped unless they shall be parsed."""
    loaded = context.model.loaded()
    renderer = make_prompt_renderer(loaded, **call.template, parse_special_tokens=parse_special_tokens)
    return renderer, renderer.render(to_messages(call.messages, None))
