"""JSON schemas of answers, with the fields that they always have."""

from collections.abc import Mapping
from typing import Any

from litgpt.application.openai.description.field_schemas import (
    BOOLEAN,
    NUMBER,
    OBJECT,
    STRING,
    TOKENS,
    Schema,
    array,
    either,
    integer,
)

_COUNT = integer(0)
_NULL: Schema = {"type": "null"}


def _all(**properties: Schema) -> Schema:
    """Return the schema of an object that has all of these fields, and possibly more."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _one(value: Any) -> Schema:
    return {"const": value}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Schema) -> Schema:
    return either(schema, _NULL)


_USAGE = _all(
    prompt_tokens=_COUNT,
    completion_tokens=_COUNT,
    total_tokens=_COUNT,
    prompt_tokens_details=_all(cached_tokens=_COUNT),
)
_TEXT_USAGE = _all(prompt_tokens=_COUNT, total_tokens=_COUNT)
_REASON = {"enum": ["stop", "length", "tool_calls", None]}
_ITEM_TYPE: Schema = {"enum": ["message", "reasoning", "function_call"]}
_CALL = _all(id=STRING, type=_one("function"), function=_all(name=STRING, arguments=STRING))
_CHAT_MESSAGE: Schema = {
    **_all(role=_one("assistant"), content=_or_null(STRING)),
    "properties": {
        "role": _one("assistant"),
        "content": _or_null(STRING),
        "reasoning_content": STRING,
        "tool_calls": array(_CALL),
    },
}

ANSWER_SCHEMAS: Mapping[str, Schema] = {
    "Error": _all(error=_all(message=STRING, type=STRING, param=_or_null(STRING), code=_or_null(STRING))),
    "Timings": _all(
        queue_ms=NUMBER,
        prefill_ms=NUMBER,
        decode_ms=NUMBER,
        prompt_tokens=_COUNT,
        cached_tokens=_COUNT,
        completion_tokens=_COUNT,
    ),
    "ChatCompletion": _all(
        id=STRING,
        object=_one("chat.completion"),
        created=_COUNT,
        model=STRING,
        choices=array(
            _all(index=_COUNT, message=_CHAT_MESSAGE, logprobs=_or_null(OBJECT), finish_reason=_REASON)
        ),
        usage=_USAGE,
        timings=_ref("Timings"),
    ),
    "ChatCompletionChunk": _all(
        id=STRING,
        object=_one("chat.completion.chunk"),
        created=_COUNT,
        model=STRING,
        choices=array(_all(index=_COUNT, delta=OBJECT, finish_reason=_REASON)),
    ),
    "Completion": _all(
        id=STRING,
        object=_one("text_completion"),
        created=_COUNT,
        model=STRING,
        choices=array(_all(index=_COUNT, text=STRING, logprobs=_or_null(OBJECT), finish_reason=_REASON)),
        usage=_USAGE,
        timings=_ref("Timings"),
    ),
    "CompletionChunk": _all(
        id=STRING,
        object=_one("text_completion"),
        created=_COUNT,
        model=STRING,
        choices=array(_all(index=_COUNT, text=STRING, finish_reason=_REASON)),
    ),
    "Response": _all(
        id=STRING,
        object=_one("response"),
        created_at=NUMBER,
        status={"enum": ["in_progress", "completed", "incomplete", "failed"]},
        error=_or_null(_all(code=STRING, message=STRING)),
        incomplete_details=_or_null(_all(reason=STRING)),
        model=STRING,
        output=array(
            _all(id=STRING, type={"enum": ["message", "reasoning", "function_call"]}, status=STRING)
        ),
        usage=_or_null(_all(input_tokens=_COUNT, output_tokens=_COUNT, total_tokens=_COUNT)),
    ),
    "ResponseEvent": _all(type=STRING, sequence_number=_COUNT),
    "Embeddings": _all(
        object=_one("list"),
        data=array(_all(object=_one("embedding"), index=_COUNT, embedding=either(array(NUMBER), STRING))),
        model=STRING,
        usage=_TEXT_USAGE,
    ),
    "Scores": _all(
        id=STRING,
        object=_one("list"),
        created=_COUNT,
        model=STRING,
        data=array(
            _all(
                object=_one("score"),
                index=_COUNT,
                prompt_index=_COUNT,
                score=NUMBER,
                is_greedy=BOOLEAN,
                token_ids=TOKENS,
                logprobs=array(NUMBER),
            )
        ),
        usage=_TEXT_USAGE,
    ),
    "Ranking": _all(
        id=STRING,
        created=_COUNT,
        model=STRING,
        results=array(_all(index=_COUNT, relevance_score=NUMBER)),
        usage=_TEXT_USAGE,
    ),
    "Model": _all(
        id=STRING,
        object=_one("model"),
        created=_COUNT,
        owned_by=STRING,
        parent=_or_null(STRING),
        context_length=_COUNT,
        sampling=OBJECT,
    ),
    "Models": _all(object=_one("list"), data=array(_ref("Model"))),
    "Tokens": _all(tokens=TOKENS, count=_COUNT),
    "Text": _all(content=STRING),
    "Prompt": _all(prompt=STRING),
    "Prediction": _all(output=STRING),
}
