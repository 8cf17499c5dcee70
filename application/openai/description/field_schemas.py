"""JSON schemas of the fields of requests."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

STRING: Schema = {"type": "string"}
TEXT: Schema = {"type": "string", "minLength": 1}
BOOLEAN: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
OBJECT: Schema = {"type": "object"}
_TOKEN: Schema = {"type": "integer", "minimum": 0}
TOKENS: Schema = {"type": "array", "items": _TOKEN}


def number(least: float, most: float | None = None) -> Schema:
    """Return the schema of a number between two bounds."""
    return {"type": "number", "minimum": least, **({} if most is None else {"maximum": most})}


def integer(least: int, most: int | None = None) -> Schema:
    """Return the schema of an integer between two bounds."""
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}


def array(items: Schema, **bounds: int) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **bounds}


def either(*schemas: Schema) -> Schema:
    """Return the schema of values of several kinds."""
    return {"anyOf": list(schemas)}


def record(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object, which may have further fields."""
    return {"type": "object", "properties": properties, "required": list(required)}


_PART = record(("type", "text"), type=STRING, text=STRING)
_MESSAGE = record(
    ("role",),
    role=TEXT,
    content=either(STRING, array(_PART), {"type": "null"}),
    tool_calls=array(OBJECT),
    tool_call_id=STRING,
    reasoning_content=STRING,
)
_FUNCTION = record(("name",), name=TEXT, description=STRING, parameters=OBJECT)
_TOOL = record(("type", "function"), type={"const": "function"}, function=_FUNCTION)
_FLAT_TOOL = record(
    ("type", "name"),
    type={"const": "function"},
    name=TEXT,
    description=STRING,
    parameters=OBJECT,
    strict=BOOLEAN,
)
_CHOICE = either({"enum": ["auto", "none", "required"]}, record(("type",), type=STRING))
_PROMPTS = either(
    STRING,
    array(_TOKEN, minItems=1, maxItems=2048),
    array(either(STRING, array(_TOKEN, minItems=1)), minItems=1, maxItems=2048),
)
_TEXTS = either(TEXT, array(TEXT, minItems=1, maxItems=2048))
_FORMAT = record(("type",), type={"enum": ["text", "json_object", "json_schema"]}, json_schema=OBJECT)

COMMON: Mapping[str, Schema] = {
    "model": STRING,
    "messages": array(_MESSAGE, minItems=1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "logit_bias": {"type": "object", "additionalProperties": number(-100, 100)},
    "n": integer(1, 128),
    "seed": integer(0),
    "stop": either(TEXT, array(TEXT)),
    "stream": BOOLEAN,
    "stream_options": record(include_usage=BOOLEAN),
    "temperature": number(0),
    "top_p": number(0, 1),
    "max_tokens": integer(0),
    "max_completion_tokens": integer(0),
    "response_format": _FORMAT,
    "top_logprobs": integer(0, 20),
    "tools": array(_TOOL),
    "tool_choice": _CHOICE,
    "parallel_tool_calls": BOOLEAN,
    "reasoning_effort": STRING,
    "top_k": integer(1),
    "min_p": number(0, 1),
    "typical_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "repetition_penalty": {"type": "number", "exclusiveMinimum": 0},
    "bad_words": either(TEXT, array(either(TEXT, array(_TOKEN, minItems=1)))),
    "allowed_token_ids": array(_TOKEN, minItems=1),
    "min_tokens": integer(0),
    "ignore_eos": BOOLEAN,
    "stop_token_ids": TOKENS,
    "include_stop": BOOLEAN,
    "dry_multiplier": number(0),
    "dry_base": number(1),
    "dry_allowed_length": integer(1),
    "dry_sequence_breakers": either(TEXT, array(either(TEXT, _TOKEN))),
    "xtc_probability": number(0, 1),
    "xtc_threshold": number(0, 1),
    "cache_prompt": BOOLEAN,
    "prompt_lookup_num_tokens": integer(0),
    "regex": TEXT,
    "grammar": TEXT,
    "choices": array(TEXT, minItems=1),
    "schema": OBJECT,
    "chat_template_kwargs": OBJECT,
    "continue_final_message": either(BOOLEAN, TEXT),
    "reasoning_budget": integer(0),
}
CHAT: Mapping[str, Schema] = {"logprobs": BOOLEAN}
COMPLETION: Mapping[str, Schema] = {"prompt": _PROMPTS, "logprobs": integer(0, 20), "echo": BOOLEAN}
EMBEDDING: Mapping[str, Schema] = {
    "input": _PROMPTS,
    "encoding_format": {"enum": ["float", "base64"]},
    "pooling": {"enum": ["last", "mean"]},
}
RESPONSE: Mapping[str, Schema] = {
    "input": either(STRING, array(OBJECT, minItems=1)),
    "instructions": STRING,
    "max_output_tokens": integer(1),
    "tools": array(_FLAT_TOOL),
    "text": record(format=record(("type",), type=_FORMAT["properties"]["type"], name=STRING, schema=OBJECT)),
    "reasoning": record(effort=either(STRING, {"type": "null"})),
    "include": array({"enum": ["message.output_text.logprobs", "reasoning.encrypted_content"]}),
    "metadata": {"type": "object", "additionalProperties": STRING},
}
SCORE: Mapping[str, Schema] = {
    "prompt": either(STRING, array(STRING)),
    "continuations": either(array(TEXT), array(array(TEXT))),
    "text_1": _TEXTS,
    "text_2": _TEXTS,
}
RERANK: Mapping[str, Schema] = {
    "query": TEXT,
    "documents": array(either(TEXT, record(("text",), text=TEXT)), maxItems=1024),
    "top_n": integer(1),
    "return_documents": BOOLEAN,
    "method": {"enum": ["cosine", "yes_no"]},
    "instruction": TEXT,
}
TOKENIZE: Mapping[str, Schema] = {"content": STRING, "pieces": BOOLEAN}
DETOKENIZE: Mapping[str, Schema] = {"tokens": TOKENS}
PREDICT: Mapping[str, Schema] = {"prompt": TEXT, "max_new_tokens": integer(1)}
