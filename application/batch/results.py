"""Answers of a batch as JSON values: in this library's format, or as OpenAI's API returns them."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from litgpt.application.batch.lines import BatchLine
from litgpt.domain.generation.request import Completion

SpellToken = Callable[[int], str]
"""Returns the text of a token."""


def result(
    line: BatchLine, completions: Sequence[Completion], n: int | None, model: str, spell: SpellToken
) -> dict[str, Any]:
    """Return the output of a line.

    Args:
        line: The line.
        completions: Its answers.
        n: The number of answers that the line asks for; None: one, which is not in a list.
        model: The name of the model, for OpenAI's format.
        spell: Returns the text of a token, for log-probabilities.
    """
    if not line.is_openai:
        return _plain(line, completions, is_list=n is not None)
    body = _body(line, completions, model, spell)
    response = {"status_code": 200, "request_id": f"req_{uuid4().hex}", "body": body}
    return _openai(line, response, None)


def error_result(line: BatchLine, error: Exception) -> dict[str, Any]:
    """Return the output of a line that has no answer."""
    described = {"message": str(error), "type": type(error).__name__, "line": line.number}
    if not line.is_openai:
        return {"id": line.id, "error": described}
    return _openai(line, None, {"code": "invalid_request", **described})


def _openai(
    line: BatchLine, response: Mapping[str, Any] | None, error: Mapping[str, Any] | None
) -> dict[str, Any]:
    name = f"batch_req_{uuid4().hex}"
    return {"id": name, "custom_id": line.id, "response": response, "error": error}


def _plain(line: BatchLine, completions: Sequence[Completion], *, is_list: bool) -> dict[str, Any]:
    first = completions[0]
    columns: dict[str, list[Any]] = {
        "text": [it.text for it in completions],
        "finish_reason": [it.finish_reason for it in completions],
    }
    if first.logprobs is not None:
        columns["token_ids"] = [it.token_ids for it in completions]
        columns["logprobs"] = [it.logprobs for it in completions]
    if first.top_logprobs is not None:
        columns["top_logprobs"] = [it.top_logprobs for it in completions]
    if first.prompt_logprobs is not None:
        columns["prompt_logprobs"] = [it.prompt_logprobs for it in completions]
    if any(it.tool_calls for it in completions):
        columns["tool_calls"] = [[call.as_dict() for call in it.tool_calls] for it in completions]
    if any(it.reasoning for it in completions):
        columns["reasoning"] = [it.reasoning for it in completions]
    return {
        "id": line.id,
        **{name: values if is_list else values[0] for name, values in columns.items()},
        "prompt_tokens": first.prompt_tokens,
        "completion_tokens": sum(it.completion_tokens for it in completions),
        "cached_tokens": first.cached_tokens,
    }


def _body(
    line: BatchLine, completions: Sequence[Completion], model: str, spell: SpellToken
) -> dict[str, Any]:
    first, is_chat = completions[0], line.endpoint == "/v1/chat/completions"
    choice = _chat_choice if is_chat else _text_choice
    generated = sum(it.completion_tokens for it in completions)
    return {
        "id": f"{'chatcmpl' if is_chat else 'cmpl'}-{uuid4().hex}",
        "object": "chat.completion" if is_chat else "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": at, **choice(it, spell)} for at, it in enumerate(completions)],
        "usage": {
            "prompt_tokens": first.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": first.prompt_tokens + generated,
            "prompt_tokens_details": {"cached_tokens": first.cached_tokens},
        },
    }


def _chat_choice(completion: Completion, spell: SpellToken) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": completion.text}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    if completion.tool_calls:
        message["content"] = completion.text or None
        message["tool_calls"] = [call.as_dict(string_arguments=True) for call in completion.tool_calls]
    logprobs = None
    if completion.logprobs is not None:
        tops: Sequence[Mapping[int, float]] = completion.top_logprobs or [{}] * len(completion.token_ids)
        rows = zip(completion.token_ids, completion.logprobs, tops, strict=True)
        content = [
            {**_entry(token, logprob, spell), "top_logprobs": [_entry(*it, spell) for it in top.items()]}
            for token, logprob, top in rows
        ]
        logprobs = {"content": content}
    return {"message": message, "logprobs": logprobs, "finish_reason": completion.finish_reason}


def _entry(token: int, logprob: float, spell: SpellToken) -> dict[str, Any]:
    text = spell(token)
    # A part of a character cannot be shown as text, nor can its bytes be recovered from it.
    spelled = None if "\N{REPLACEMENT CHARACTER}" in text else list(text.encode())
    return {"token": text, "logprob": logprob, "bytes": spelled}


def _text_choice(completion: Completion, spell: SpellToken) -> dict[str, Any]:
    logprobs = None
    if completion.logprobs is not None:
        tokens = [spell(token) for token in completion.token_ids]
        offsets = [sum(map(len, tokens[:at])) for at in range(len(tokens))]
        tops = completion.top_logprobs
        logprobs = {
            "tokens": tokens,
            "token_logprobs": completion.logprobs,
            "top_logprobs": tops and [{spell(token): it for token, it in top.items()} for top in tops],
            "text_offset": offsets,
        }
    return {"text": completion.text, "logprobs": logprobs, "finish_reason": completion.finish_reason}
