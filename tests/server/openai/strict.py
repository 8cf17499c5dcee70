"""Checks that an answer has the types of the openai package, and nothing that is not documented."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

DOCUMENTED = {"timings", "reasoning_content"}
"""The fields that this server adds to OpenAI's answers."""


def check(answer: BaseModel) -> None:
    """Check an answer as the client has parsed it, which is not strict."""
    extra = {name for model in _models(answer) for name in model.model_extra or {}}
    assert extra <= DOCUMENTED
    raw = answer.model_dump(mode="json", exclude_unset=True, by_alias=True)
    type(answer).model_validate(raw, strict=True)


def _models(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _models(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _models(item)
