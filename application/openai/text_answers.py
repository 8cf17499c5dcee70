"""Embeddings, scores and ranks as the bodies of answers."""

import base64
import sys
import time
from array import array
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from litgpt.application.openai.text_requests import EmbeddingCall, RerankCall
from litgpt.domain.scoring.results import ContinuationScore, RankedDocument


def embeddings_body(
    call: EmbeddingCall, embeddings: "Sequence[array[float]]", model: str, tokens: int
) -> dict[str, Any]:
    """Return the body of `/v1/embeddings` for embeddings (D,) in float32."""
    encode = _base64 if call.encoding == "base64" else list
    data = [
        {"object": "embedding", "index": index, "embedding": encode(it)}
        for index, it in enumerate(embeddings)
    ]
    return {"object": "list", "data": data, "model": model, "usage": _usage(tokens)}


def score_body(scores: Sequence[Sequence[ContinuationScore]], model: str, tokens: int) -> dict[str, Any]:
    """Return the body of `/v1/score`: all continuations in order, each with the index of its prompt."""
    flat = [(prompt, it) for prompt, group in enumerate(scores) for it in group]
    data = [
        {
            "object": "score",
            "index": index,
            "prompt_index": prompt,
            "score": it.logprob,
            "is_greedy": it.is_greedy,
            "token_ids": list(it.token_ids),
            "logprobs": list(it.logprobs),
        }
        for index, (prompt, it) in enumerate(flat)
    ]
    return {**_header("score", model), "object": "list", "data": data, "usage": _usage(tokens)}


def rerank_body(
    call: RerankCall, ranked: Sequence[RankedDocument], model: str, tokens: int
) -> dict[str, Any]:
    """Return the body of `/v1/rerank`: the most relevant document first."""
    results: list[dict[str, Any]] = []
    for it in ranked[: call.top_n]:
        document = {"document": {"text": call.documents[it.index]}} if call.return_documents else {}
        results.append({"index": it.index, "relevance_score": it.score, **document})
    return {**_header("rerank", model), "results": results, "usage": _usage(tokens)}


def _header(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"{kind}-{uuid4().hex}", "created": int(time.time()), "model": model}


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def _base64(embedding: "array[float]") -> str:
    """Return little-endian float32 in base64, as OpenAI's clients read it."""
    if sys.byteorder == "big":
        embedding = array("f", embedding)
        embedding.byteswap()
    return base64.b64encode(embedding.tobytes()).decode("ascii")
