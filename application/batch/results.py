"""Answers of a batch as JSON values: in this library's format, or as OpenAI's API returns them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from litgpt.application.batch.lines import BatchLine
from litgpt.application.openai.answers import AnswerHeader, chat_body, text_body
from litgpt.domain.generation.request import Completion
from litgpt.domain.ports import Tokenizer


def result(
    line: BatchLine, completions: Sequence[Completion], n: int | None, model: str, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Return the output of a line.

    Args:
        line: The line.
        completions: Its answers.
        n: The number of answers that the line asks for; None: one, which is not in a list.
        model: The name of the model, for OpenAI's format.
        tokenizer: Returns the texts of tokens, for log-probabilities.
    """
    if not line.is_openai:
        return _plain(line, completions, is_list=n is not None)
    body = _body(line, completions, model, tokenizer)
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
    line: BatchLine, completions: Sequence[Completion], model: str, tokenizer: Tokenizer
) -> dict[str, Any]:
    header = AnswerHeader(model, is_chat=line.endpoint == "/v1/chat/completions")
    if header.is_chat:
        return chat_body(header, completions, tokenizer)
    return text_body(header, completions, tokenizer, n=len(completions))
