"""The keyword arguments that `LLM.generate`, `complete` and `chat` have in common, as types."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from litgpt.application.asking import Settings
from litgpt.domain.chat import Message
from litgpt.domain.sampling import ModelDefault

Turns: TypeAlias = Sequence[Message] | Sequence[Mapping[str, Any]]
"""A conversation: `[{"role": "user", "content": "Hello"}, …]`."""
Prompt: TypeAlias = str | Turns
Prompts: TypeAlias = list[str] | tuple[str, ...] | list[list[Message]] | list[list[dict[str, Any]]]
Tools: TypeAlias = Sequence[Mapping[str, Any] | Callable[..., Any]]


class Templating(TypedDict, total=False):
    """How a prompt is written; `Generates.generate` documents each."""

    tools: Tools | None
    chat_template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool | str
    apply_chat_template: bool


class Drawing(Templating, total=False):
    """The same, and how answers are drawn."""

    max_new_tokens: int | None
    temperature: float | ModelDefault
    top_k: int | ModelDefault | None
    top_p: float | ModelDefault
    seed: int | None
    stop: str | Sequence[str] | None
    parse_special_tokens: bool | None


class Options(Drawing, total=False):
    """The same, and what the system says first."""

    sys_prompt: str | None


def split(how: Mapping[str, Any]) -> tuple[Settings, Templating]:
    """Return keyword arguments as those of sampling, and those that say how prompts are written.

    Raises:
        BadArgument: One of the former cannot be right.

    """
    templating: Templating = {}
    for name in Templating.__annotations__:
        if name in how:
            templating[name] = how[name]  # type: ignore[literal-required]
    return Settings(**{name: value for name, value in how.items() if name not in templating}), templating
