"""Render a checkpoint's chat template."""

from collections.abc import Mapping
from typing import Any

import attrs

from litgpt.adapters.tokenization.chat_template.budget import DEFAULT_BUDGET, budget
from litgpt.domain.chat.messages import Messages
from litgpt.domain.chat.special_token_escapes import unescape
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.errors import UnsupportedPrompt

_TOOL_USE = "tool_use"
_REASONING = ("reasoning_content", "thinking", "reasoning")  # names of one field, in different templates
_CONTINUATION_MARK = (
    "CONTINUE_FINAL_MESSAGE_TAG "  # as in transformers; the space shows whether the template strips contents
)


@attrs.frozen
class ChatTemplate:
    """A Jinja chat template, rendered in a sandbox like transformers' `apply_chat_template`.

    Attributes:
        source: The default template; None if there are only named ones.
        budget: Cost limit of a rendering, in characters.
        named_templates: Additional templates by name; `tool_use` is used if there are tools.
    """

    name: str
    source: str | None = attrs.field(repr=False)
    special_tokens: Mapping[str, str] = attrs.field(factory=dict)
    budget: int = DEFAULT_BUDGET
    named_templates: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def render(
        self,
        messages: Messages,
        *,
        add_generation_prompt: bool = True,
        options: TemplateOptions = NO_TEMPLATE_OPTIONS,
    ) -> str:
        """Return messages as text; see `render` of the port `Tokenizer`."""
        from litgpt.adapters.tokenization.chat_template.sandbox import compile_template
        from litgpt.adapters.tokenization.chat_template.template_errors import (
            is_template_error,
            template_message,
        )

        source = self.select(options)
        dicts = [_with_reasoning(message.as_dict()) for message in messages]
        field = "content" if options.continue_final_message is True else options.continue_final_message
        unfinished = self._mark(dicts, field, source) if field else None
        context = {
            **self.special_tokens,
            "documents": None,
            **options.variables,
            "messages": dicts,
            "add_generation_prompt": add_generation_prompt and not field,
            "tools": None if options.tools is None else list(options.tools),
        }
        try:
            template = compile_template(source)
            with budget(self.budget):
                text = template.render(context)
        except Exception as error:  # an untrusted template can raise anything
            if not is_template_error(error):
                raise
            raise self._unsupported(template_message(error)) from error
        return text if unfinished is None else self._up_to_mark(text, unfinished)

    def select(self, options: TemplateOptions) -> str:
        """Return the source of the template for `options`.

        Raises:
            UnsupportedPrompt: There are only named templates, and none is for these options.
        """
        if options.tools is not None and _TOOL_USE in self.named_templates:
            return self.named_templates[_TOOL_USE]
        if self.source is None:
            raise self._unsupported(
                f"there are several ({', '.join(sorted(self.named_templates))}) and none is the default."
            )
        return self.source

    def _mark(self, messages: list[dict[str, Any]], field: str, source: str) -> str:
        """Append the mark to the last message, and return the text before it."""
        last = messages[-1]
        unfinished = last.get(field)
        if unfinished is None:
            raise self._unsupported(f"the last message has no {field!r} to continue.")
        fields = [field]
        if field in _REASONING:
            fields = [name for name in _REASONING if last.get(name) == unfinished]
        if not any(name in source for name in fields):
            raise self._unsupported(f"it does not render {field!r} of a message, so it cannot be continued.")
        if isinstance(unfinished, str):
            last |= dict.fromkeys(fields, unfinished + _CONTINUATION_MARK)
            return unfinished
        for number, part in reversed([*enumerate(unfinished)]):
            if "text" in part:
                last[field] = [*unfinished]
                last[field][number] = {**part, "text": part["text"] + _CONTINUATION_MARK}
                return str(part["text"])
        raise self._unsupported("the last message has no text to continue.")

    def _up_to_mark(self, text: str, unfinished: str) -> str:
        mark = _CONTINUATION_MARK.strip()
        if unfinished.strip() not in text or mark not in text:
            raise self._unsupported(
                "it changes the text of the last message, so the message cannot be continued."
            )
        at = text.rindex(mark)
        return (
            text[:at] if text[at : at + len(_CONTINUATION_MARK)] == _CONTINUATION_MARK else text[:at].rstrip()
        )

    def _unsupported(self, reason: str) -> UnsupportedPrompt:
        return UnsupportedPrompt(f"in the chat template of {self.name}", unescape(reason))


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with its reasoning under all names that templates use."""
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    return (
        message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}
    )
