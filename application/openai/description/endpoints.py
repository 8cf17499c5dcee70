"""The routes of the API, with the fields of their requests and the schemas of their answers."""

from collections.abc import Mapping

import attrs

from litgpt.application.openai.description import field_schemas as schemas
from litgpt.application.openai.description.field_schemas import Schema
from litgpt.application.openai.fields import CHAT_FIELDS, COMPLETION_FIELDS, EMBEDDING_FIELDS, Fields
from litgpt.application.openai.responses.fields import RESPONSE_FIELDS
from litgpt.application.openai.text_fields import (
    DETOKENIZE_FIELDS,
    PREDICT_FIELDS,
    RERANK_FIELDS,
    SCORE_FIELDS,
    TEMPLATE_FIELDS,
    TOKENIZE_FIELDS,
)


@attrs.frozen(kw_only=True)
class Endpoint:
    """A route.

    Attributes:
        path: Its path.
        summary: What it does, as a title.
        answer: The name of the schema of its answer in `ANSWER_SCHEMAS`.
        fields: The fields of its requests; None: it is a GET request.
        schemas: The schemas of fields that differ from those of the same name elsewhere.
        required: The fields without which a request is refused.
        event: The name of the schema of the events of a stream; None: it has no stream.
    """

    path: str
    summary: str
    answer: str
    fields: Fields | None = None
    schemas: Mapping[str, Schema] = attrs.field(factory=dict)
    required: tuple[str, ...] = ()
    event: str | None = None

    def schema(self, name: str) -> Schema:
        """Return the schema of a field that is supported, without null."""
        return self.schemas[name] if name in self.schemas else schemas.COMMON[name]


CHAT = Endpoint(
    path="/v1/chat/completions",
    summary="Answer a conversation",
    answer="ChatCompletion",
    fields=CHAT_FIELDS,
    schemas=schemas.CHAT,
    required=("messages",),
    event="ChatCompletionChunk",
)
COMPLETION = Endpoint(
    path="/v1/completions",
    summary="Continue texts",
    answer="Completion",
    fields=COMPLETION_FIELDS,
    schemas=schemas.COMPLETION,
    required=("prompt",),
    event="CompletionChunk",
)
RESPONSE = Endpoint(
    path="/v1/responses",
    summary="Answer a conversation of items",
    answer="Response",
    fields=RESPONSE_FIELDS,
    schemas=schemas.RESPONSE,
    required=("input",),
    event="ResponseEvent",
)
EMBEDDING = Endpoint(
    path="/v1/embeddings",
    summary="Embed texts",
    answer="Embeddings",
    fields=EMBEDDING_FIELDS,
    schemas=schemas.EMBEDDING,
    required=("input",),
)
SCORE = Endpoint(
    path="/v1/score",
    summary="Return the log-probabilities of continuations",
    answer="Scores",
    fields=SCORE_FIELDS,
    schemas=schemas.SCORE,
)
RERANK = Endpoint(
    path="/v1/rerank",
    summary="Order documents by their relevance to a query",
    answer="Ranking",
    fields=RERANK_FIELDS,
    schemas=schemas.RERANK,
    required=("query", "documents"),
)
TOKENIZE = Endpoint(
    path="/tokenize",
    summary="Return the token ids of a text or a conversation",
    answer="Tokens",
    fields=TOKENIZE_FIELDS,
    schemas=schemas.TOKENIZE,
)
DETOKENIZE = Endpoint(
    path="/detokenize",
    summary="Return the text of token ids",
    answer="Text",
    fields=DETOKENIZE_FIELDS,
    schemas=schemas.DETOKENIZE,
    required=("tokens",),
)
APPLY_TEMPLATE = Endpoint(
    path="/apply-template",
    summary="Return the prompt of a conversation",
    answer="Prompt",
    fields=TEMPLATE_FIELDS,
    required=("messages",),
)
PREDICT = Endpoint(
    path="/predict",
    summary="Answer a prompt",
    answer="Prediction",
    fields=PREDICT_FIELDS,
    schemas=schemas.PREDICT,
    required=("prompt",),
)
MODELS = Endpoint(path="/v1/models", summary="List the model and its adapters", answer="Models")
MODEL = Endpoint(path="/v1/models/{model}", summary="Describe a model", answer="Model")

ENDPOINTS = (
    CHAT,
    COMPLETION,
    RESPONSE,
    EMBEDDING,
    SCORE,
    RERANK,
    TOKENIZE,
    DETOKENIZE,
    APPLY_TEMPLATE,
    MODELS,
    MODEL,
)
"""All routes of the API but `/predict`, whose path is a setting."""
