"""The fields of requests as tables of a document."""

from collections.abc import Iterator

from litgpt.application.openai.description.endpoints import (
    APPLY_TEMPLATE,
    CHAT,
    COMPLETION,
    DETOKENIZE,
    EMBEDDING,
    PREDICT,
    RERANK,
    RESPONSE,
    SCORE,
    TOKENIZE,
    Endpoint,
)
from litgpt.application.openai.fields import Field

_OF_OPENAI = (CHAT, COMPLETION, RESPONSE, EMBEDDING)
_OWN = (SCORE, RERANK, TOKENIZE, DETOKENIZE, APPLY_TEMPLATE, PREDICT)
_SUPPORT = {"supported": "yes", "default only": "default only", "ignored": "ignored", "refused": "no"}


def field_tables() -> str:
    """Return a section for each route, in Markdown."""
    return "\n".join("".join(f"{line}\n" for line in _section(it)) for it in (*_OF_OPENAI, *_OWN))


def _section(endpoint: Endpoint) -> Iterator[str]:
    fields = endpoint.fields or {}
    yield f"## `{endpoint.path}`"
    yield ""
    required = " and ".join(f"`{name}`" for name in endpoint.required)
    yield f"{endpoint.summary}." + (f" Required: {required}." if required else "")
    yield ""
    if endpoint in _OWN:
        yield "| field | notes |"
        yield "| --- | --- |"
        yield from (f"| `{name}` | {_note(field)} |" for name, field in fields.items())
        return
    yield "| field | supported | notes |"
    yield "| --- | --- | --- |"
    for name, field in fields.items():
        if not field.is_own:
            yield f"| `{name}` | {_SUPPORT[field.support]} | {_note(field)} |"
    own = [name for name, field in fields.items() if field.is_own]
    if own:
        yield ""
        yield "Further fields, which OpenAI's API does not have:"
        yield ""
        yield "| field | notes |"
        yield "| --- | --- |"
        yield from (f"| `{name}` | {_note(fields[name])} |" for name in own)


def _note(field: Field) -> str:
    if field.support != "default only":
        return field.note
    accepted = " or ".join(f"`{value}`" for value in field.accepted)
    return f"{accepted} only. {field.note}".rstrip()
