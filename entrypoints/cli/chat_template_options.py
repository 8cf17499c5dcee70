"""Chat template options of the commands: tools, variables and messages, from files or as JSON."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from litgpt.cli import console
from litgpt.cli.arguments import json_argument, json_or_file, prompt_text
from litgpt.cli.error_output import UsageError

if TYPE_CHECKING:
    from litgpt.domain.chat.messages import Message


def template_kwargs(
    tools: str | None, chat_template_kwargs: str | None, *, apply_chat_template: bool, **others: Any
) -> dict[str, Any]:
    """Return the chat template options as keyword arguments of `LLM.generate`; unset options are omitted.

    `tools` is JSON, or the path of a JSON file, and `chat_template_kwargs` is JSON.
    """
    from litgpt.application.render_prompt import reject_options
    from litgpt.domain.chat.template_options import TemplateOptions

    kwargs: dict[str, Any] = {}
    if tools is not None:
        kwargs["tools"] = json_or_file(
            "--tools", tools, "Pass a JSON file with a list of tools, or that list itself."
        )
    if chat_template_kwargs is not None:
        kwargs["chat_template_kwargs"] = json_argument("--chat-template-kwargs", chat_template_kwargs)
    kwargs |= {name: value for name, value in others.items() if value}
    options = TemplateOptions(tools=kwargs.get("tools"), variables=kwargs.get("chat_template_kwargs"))
    if not apply_chat_template:
        reject_options(options)
    return kwargs if apply_chat_template else {**kwargs, "apply_chat_template": False}


def parse_conversation(
    prompt: str | None, messages: str | None, sys_prompt: str | None, *, model: str = ""
) -> "tuple[str | list[Message], dict[str, Any]]":
    """Return the prompt, or the messages of a file, and the tools and template variables of the file."""
    if (prompt is None) == (messages is None):
        if prompt is not None:
            raise UsageError("The prompt and --messages exclude each other: pass one of them.")
        advice = "pass it after MODEL or with --prompt, or a conversation with --messages FILE."
        taken = f" ({model!r} is MODEL, which comes first.)" if model else ""
        raise UsageError(f"Missing prompt: {advice}{taken}")
    if prompt is not None:
        return prompt_text(prompt, sys_prompt), {}
    from litgpt.application.render_prompt import to_messages
    from litgpt.chat import read_chat

    saved = read_chat(str(messages))
    to_messages(saved.messages, sys_prompt)
    options = {"tools": saved.tools, "chat_template_kwargs": saved.chat_template_kwargs}
    return saved.messages, {name: value for name, value in options.items() if value is not None}


@contextmanager
def warnings_as_notes(*, quiet: bool) -> Iterator[None]:
    """Show each prompt warning once on stderr, without the source line, and with the option's name."""
    from litgpt.application.render_prompt import PromptWarning

    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if not issubclass(category, PromptWarning):
            shown(message, category, *args, **kwargs)
        elif not quiet:
            advice = "Pass apply_chat_template=False", "Use --no-apply-chat-template"
            console.note(str(message).replace(*advice))

    with warnings.catch_warnings():
        warnings.simplefilter("default", PromptWarning)
        warnings.showwarning = show
        yield
