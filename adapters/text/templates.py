"""Render a checkpoint's chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from litgpt.adapters.text.budget import BUDGET, budget
from litgpt.domain.chat import Messages
from litgpt.domain.errors import BadPrompt
from litgpt.domain.special_tokens import unescape

_TOOL_USE = "tool_use"
_REASONING = ("reasoning_content", "thinking", "reasoning")  # names of one field, in different templates
_HERE = (
    "CONTINUE_FINAL_MESSAGE_TAG "  # as in transformers; the space shows whether the template strips contents
)


@attrs.frozen
class ChatTemplate:
    """A Jinja chat template, rendered in a sandbox like transformers' `apply_chat_template`.

    Attributes:
        name: Name of the model in error messages.
        source: The default template; None if there are only named ones.
        tokens: Special tokens available in the template: `bos_token`, `eos_token`, …
        budget: Cost limit of a rendering, in characters.
        named: Additional templates by name; `tool_use` is used if there are tools.

    """

    name: str
    source: str | None = attrs.field(repr=False)
    tokens: Mapping[str, str] = attrs.field(factory=dict)
    budget: int = BUDGET
    named: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def render(
        self,
        messages: Messages,
        *,
        answer: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        variables: Mapping[str, Any] | None = None,
        continue_final_message: bool | str = False,
    ) -> str:
        """Return messages as text. For the arguments, see `render` of the port `Tokenizer`.

        Raises:
            BadPrompt: The template is invalid, rejects the messages, or violates the sandbox.

        """
        from litgpt.adapters.text.sandbox import compiled
        from litgpt.adapters.text.template_errors import is_of_template, words_of

        source = self._chosen(tools)
        dicts = [_with_reasoning(message.as_dict()) for message in messages]
        field = "content" if continue_final_message is True else continue_final_message
        unfinished = self._mark(dicts, field, source) if field else None
        context = {
            **self.tokens,
            "documents": None,
            **(variables or {}),
            "messages": dicts,
            "add_generation_prompt": answer and not field,
            "tools": None if tools is None else list(tools),
        }
        try:
            template = compiled(source)
            with budget(self.budget):
                text = template.render(context)
        except Exception as error:  # an untrusted template can raise anything
            if not is_of_template(error):
                raise
            raise self._refusal(words_of(error)) from error
        return text if unfinished is None else self._up_to_mark(text, unfinished)

    def _chosen(self, tools: object) -> str:
        """Return the template to render, by transformers' rule."""
        if tools is not None and _TOOL_USE in self.named:
            return self.named[_TOOL_USE]
        if self.source is None:
            raise self._refusal(
                f"there are several ({', '.join(sorted(self.named))}) and none is the default."
            )
        return self.source

    def _mark(self, messages: list[dict[str, Any]], field: str, source: str) -> str:
        """Append the mark to the last message, and return the text before it."""
        last = messages[-1]
        unfinished = last.get(field)
        if unfinished is None:
            raise self._refusal(f"the last message has no {field!r} to continue.")
        fields = [field]
        if field in _REASONING:
            fields = [name for name in _REASONING if last.get(name) == unfinished]
        if not any(name in source for name in fields):
            raise self._refusal(f"it does not render {field!r} of a message, so it cannot be continued.")
        if isinstance(unfinished, str):
            last |= dict.fromkeys(fields, unfinished + _HERE)
            return unfinished
        for number, part in reversed([*enumerate(unfinished)]):
            if "text" in part:
                last[field] = [*unfinished]
                last[field][number] = {**part, "text": part["text"] + _HERE}
                return str(part["text"])
        raise self._refusal("the last message has no text to continue.")

    def _up_to_mark(self, text: str, unfinished: str) -> str:
        mark = _HERE.strip()
        if unfinished.strip() not in text or mark not in text:
            raise self._refusal(
                "it changes the text of the last message, so the message cannot be continued."
            )
        at = text.rindex(mark)
        return text[:at] if text[at : at + len(_HERE)] == _HERE else text[:at].rstrip()

    def _refusal(self, reason: str) -> BadPrompt:
        return BadPrompt(f"in the chat template of {self.name}", unescape(reason))


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with its reasoning under all names that templates use."""
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    return (
        message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}
    )
