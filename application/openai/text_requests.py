"""Read the bodies of requests about given texts: embeddings, scores, ranks and tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from litgpt.application.openai.fields import EMBEDDING_FIELDS, Fields, read_fields
from litgpt.application.openai.requests import read_prompts
from litgpt.application.openai.text_fields import (
    DETOKENIZE_FIELDS,
    RERANK_FIELDS,
    SCORE_FIELDS,
    TEMPLATE_FIELDS,
    TOKENIZE_FIELDS,
)
from litgpt.application.scoring.parse_texts import parse_scored, parse_texts
from litgpt.application.scoring.rerank import RerankMethod
from litgpt.domain.errors import InvalidArgument, MissingArgument, WrongType
from litgpt.domain.scoring.request import Pooling
from litgpt.domain.validators import flag, integer, is_integer

MAX_DOCUMENTS = 1024
MAX_TEXTS = 2048


@attrs.frozen(kw_only=True)
class EmbeddingCall:
    """A request for embeddings; `inputs` are texts or lists of token ids."""

    inputs: Sequence[str | list[int]]
    pooling: Pooling = "last"
    encoding: Literal["float", "base64"] = "float"
    model: str | None = None


@attrs.frozen(kw_only=True)
class ScoreCall:
    """A request for scores: prompts, each with its continuations."""

    pairs: Sequence[tuple[str, list[str]]]
    model: str | None = None


@attrs.frozen(kw_only=True)
class RerankCall:
    """A request for the order of documents; the attributes are the arguments of `LLM.rerank`."""

    query: str
    documents: Sequence[str]
    top_n: int | None = None
    method: RerankMethod = "cosine"
    instruction: str | None = None
    return_documents: bool = True
    model: str | None = None


@attrs.frozen(kw_only=True)
class TokenizeCall:
    """A text, or a conversation with the options of its template, to be rendered or encoded.

    Attributes:
        content: The text; None: there are messages.
        messages: The conversation.
        template: The options of the chat template.
        pieces: Whether the answer has the text of each token.
    """

    content: str | None = None
    messages: Any = None
    template: Mapping[str, Any] = attrs.field(factory=dict)
    pieces: bool = False
    model: str | None = None


def read_embeddings(body: Mapping[str, Any]) -> EmbeddingCall:
    """Read the body of a request to `/v1/embeddings`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields, model = _read(body, EMBEDDING_FIELDS)
    inputs, _ = read_prompts("input", _required(fields, "input"))
    for number, it in enumerate(inputs):
        if not it:
            raise InvalidArgument(f"input[{number}]", it, "a text of at least one character")
    pooling, encoding = fields.get("pooling", "last"), fields.get("encoding_format", "float")
    if pooling not in ("last", "mean"):
        raise InvalidArgument("pooling", pooling, "'last' or 'mean'")
    if encoding not in ("float", "base64"):
        raise InvalidArgument("encoding_format", encoding, "'float' or 'base64'")
    return EmbeddingCall(inputs=inputs, pooling=pooling, encoding=encoding, model=model)


def read_score(body: Mapping[str, Any]) -> ScoreCall:
    """Read the body of a request to `/v1/score`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields, model = _read(body, SCORE_FIELDS)
    if "text_1" in fields or "text_2" in fields:
        for name in ("prompt", "continuations"):
            if name in fields:
                raise InvalidArgument(name, fields[name], "null with text_1 and text_2")
        pairs = _paired(_required(fields, "text_1"), _required(fields, "text_2"))
    else:
        pairs, _ = parse_scored(_required(fields, "prompt"), _required(fields, "continuations"))
    count = sum(len(continuations) for _, continuations in pairs)
    if not count:
        raise InvalidArgument("continuations", fields.get("continuations"), "at least one text")
    if count > MAX_TEXTS:
        raise InvalidArgument("continuations", f"{count} texts", f"at most {MAX_TEXTS}")
    return ScoreCall(pairs=pairs, model=model)


def read_rerank(body: Mapping[str, Any]) -> RerankCall:
    """Read the body of a request to `/v1/rerank`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields, model = _read(body, RERANK_FIELDS)
    query, documents = _required(fields, "query"), _required(fields, "documents")
    if not isinstance(query, str):
        raise WrongType("query", query, "a text")
    parse_texts("query", query)
    if not isinstance(documents, list):
        raise WrongType("documents", documents, "a list of texts")
    if len(documents) > MAX_DOCUMENTS:
        raise InvalidArgument("documents", f"{len(documents)} texts", f"at most {MAX_DOCUMENTS}")
    texts = [_document(number, it) for number, it in enumerate(documents)]
    method, instruction = fields.get("method", "cosine"), fields.get("instruction")
    if method not in ("cosine", "yes_no"):
        raise InvalidArgument("method", method, "'cosine' or 'yes_no'")
    if instruction is not None and not (isinstance(instruction, str) and instruction):
        raise WrongType("instruction", instruction, "a text of at least one character")
    if instruction is not None and method == "cosine":
        raise InvalidArgument("instruction", instruction, "null unless method is 'yes_no'")
    top_n = fields.get("top_n")
    return RerankCall(
        query=query,
        documents=texts,
        top_n=None if top_n is None else integer("top_n", top_n, 1),
        method=method,
        instruction=instruction,
        return_documents=_flag(fields, "return_documents", default=True),
        model=model,
    )


def read_tokenize(body: Mapping[str, Any]) -> TokenizeCall:
    """Read the body of a request to `/tokenize`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields, model = _read(body, TOKENIZE_FIELDS)
    pieces = _flag(fields, "pieces")
    if ("content" in fields) == ("messages" in fields):
        expected = "set, or messages, but not both"
        raise InvalidArgument("content", fields.get("content"), expected)
    if "messages" in fields:
        return _templated(fields, model, pieces=pieces)
    if not isinstance(fields["content"], str):
        raise WrongType("content", fields["content"], "a text")
    for name in fields.keys() - {"model", "content", "pieces"}:
        raise InvalidArgument(name, fields[name], "null without messages")
    return TokenizeCall(content=fields["content"], pieces=pieces, model=model)


def read_apply_template(body: Mapping[str, Any]) -> TokenizeCall:
    """Read the body of a request to `/apply-template`.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields, model = _read(body, TEMPLATE_FIELDS)
    _required(fields, "messages")
    return _templated(fields, model)


def read_detokenize(body: Mapping[str, Any]) -> tuple[list[int], str | None]:
    """Read the body of a request to `/detokenize`; return the token ids and the name of the model.

    Raises:
        InvalidArgument: A field is missing, not supported, or has a wrong value.
    """
    fields, model = _read(body, DETOKENIZE_FIELDS)
    tokens = _required(fields, "tokens")
    if not (isinstance(tokens, list) and all(is_integer(token, 0) for token in tokens)):
        raise WrongType("tokens", tokens, "a list of token ids")
    return tokens, model


def _read(body: Mapping[str, Any], table: Fields) -> tuple[dict[str, Any], str | None]:
    fields = read_fields(body, table)
    model = fields.get("model")
    if model is not None and not isinstance(model, str):
        raise WrongType("model", model, "a string")
    return fields, model


def _required(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise MissingArgument(name, None, "add it to the body of the request.")
    return fields[name]


def _flag(fields: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = fields.get(name, default)
    flag(name, value)
    return bool(value)


def _templated(fields: Mapping[str, Any], model: str | None, *, pieces: bool = False) -> TokenizeCall:
    messages = fields["messages"]
    if not isinstance(messages, list):
        raise WrongType("messages", messages, "a list of messages")
    names = ("tools", "chat_template_kwargs", "continue_final_message")
    template = {name: fields[name] for name in names if name in fields}
    return TokenizeCall(messages=messages, template=template, pieces=pieces, model=model)


def _paired(first: Any, second: Any) -> list[tuple[str, list[str]]]:
    firsts, is_list = parse_texts("text_1", first)
    seconds, _ = parse_texts("text_2", second)
    for name, texts in (("text_1", firsts), ("text_2", seconds)):
        if not texts:
            raise InvalidArgument(name, texts, "at least one text")
    if not is_list:
        return [(firsts[0], seconds)]
    if len(firsts) != len(seconds):
        raise InvalidArgument("text_2", f"{len(seconds)} texts", f"as many texts as text_1 ({len(firsts)})")
    return [(prompt, [continuation]) for prompt, continuation in zip(firsts, seconds, strict=True)]


def _document(number: int, value: Any) -> str:
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise WrongType(f"documents[{number}]", value, "a text, or an object with a text")
    if not text:
        raise InvalidArgument(f"documents[{number}]", value, "a text of at least one character")
    return text
