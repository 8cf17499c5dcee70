"""Write prompts: what the caller passed, as the ids that the model expects."""

import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from litgpt.domain.chat.messages import Message, Messages, parse_messages
from litgpt.domain.chat.special_token_escapes import ESCAPE, map_strings
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.ports import Tokenizer


class PromptWarning(UserWarning):
    """A prompt is probably not what the model was trained to read."""


@attrs.frozen
class RenderPrompt:
    """Renders messages in the model's prompt style and encodes them.

    Attributes:
        tokenizer: The model's tokenizer.
        style: The model's prompt style; None is its chat template.
        options: Tools and variables for the chat template.
        raw: Whether prompts are texts that are sent as they are, whatever the style is.
        parse_special_tokens: Whether special tokens such as `<|im_end|>` in messages and tools become control
            tokens. Otherwise only those that the style or the template writes do.

    """

    tokenizer: Tokenizer
    style: PromptStyle | None
    options: TemplateOptions = NO_TEMPLATE_OPTIONS
    raw: bool = False
    parse_special_tokens: bool = False

    def __attrs_post_init__(self) -> None:
        if self.raw:
            reject_options(self.options)

    def render(self, messages: Messages, *, add_generation_prompt: bool = True) -> str:
        """Return the prompt as text, with the beginning of the answer if `add_generation_prompt`.

        Raises:
            BadPrompt: The style cannot express these messages.

        """
        messages = self.escape_messages(messages)
        if self.raw:
            return "".join(self._raw_text(message) for message in messages)
        if self.style is None:
            return self.tokenizer.render(
                messages,
                add_generation_prompt=add_generation_prompt,
                **self._escape_options(self.options.render_kwargs),
            )
        return self.style.render(messages, add_generation_prompt=add_generation_prompt, options=self.options)

    def encode(self, rendered: str, *, continues: bool = False) -> list[int]:
        """Return the ids of a rendered prompt.

        A chat template writes the beginning token itself, if the model wants one; a style leaves that to the
        tokenizer.

        Args:
            rendered: What `render` has returned, or the rest of it.
            continues: Whether it is the rest of a prompt, whose beginning is encoded already.

        """
        by_template = self.style is None and not self.raw
        bos = False if continues or by_template else None
        if self.parse_special_tokens or ESCAPE not in rendered:
            return self.tokenizer.encode(rendered, bos=bos)
        return self.tokenizer.encode(rendered, bos=bos, escaped=True)

    def warn_if_rendered(self, prompt: str) -> None:
        """Warn of a text that looks as if it had been through the chat template already."""
        if self.raw:
            return
        begun = prompt.lstrip()
        mark = next((mark for mark in self._prompt_prefixes() if begun.startswith(mark)), None)
        if mark is None:
            return
        what = "its chat template" if self.style is None else f"the prompt style {self.style.name}"
        warnings.warn(
            f"The prompt begins with {mark!r}, as prompts for this model do after {what} has been applied, "
            "and it is applied again. Pass apply_chat_template=False to send the prompt as it is.",
            PromptWarning,
            stacklevel=_caller_stacklevel(),
        )

    def _prompt_prefixes(self) -> Iterator[str]:
        """Yield what rendered prompts begin with: a special token, or the text before the first message.

        After a beginning token, which callers may leave to the tokenizer, comes the next mark as well.
        """
        try:
            rest, found, _ = (
                attrs.evolve(self, options=NO_TEMPLATE_OPTIONS)
                .render(_PROBE_MESSAGES)
                .partition(_PROBE_MESSAGES[0].text)
            )
        except UnsupportedPrompt:
            return
        while found and rest.strip():
            first = self.tokenizer.encode(rest, bos=False)[:1]
            token = self.tokenizer.decode(first, include_special_tokens=True)
            if self.tokenizer.decode(first) or not token or not rest.startswith(token):
                yield rest.lstrip()
                return
            yield token
            if first != [self.tokenizer.bos_id]:
                return
            rest = rest.removeprefix(token)

    def _raw_text(self, message: Message) -> str:
        if message.role not in ("user", "assistant") or message.fields:
            expected = "a string with apply_chat_template=False, which sends it as it is"
            raise WrongType("prompt", message.as_dict(), expected)
        return message.text

    def escape_messages(self, messages: Messages) -> Messages:
        """Return messages in which special tokens are escaped, unless they are to be parsed."""
        if self.parse_special_tokens:
            return messages
        escape = self.tokenizer.escape
        return tuple(
            Message(
                escape(message.role),
                map_strings(message.content, escape),
                map_strings(message.fields, escape),
            )
            for message in messages
        )

    def _escape_options(self, options: dict[str, Any]) -> dict[str, Any]:
        if self.parse_special_tokens:
            return options
        return {
            name: map_strings(value, self.tokenizer.escape) if name in ("tools", "variables") else value
            for name, value in options.items()
        }


def reject_options(options: TemplateOptions) -> None:
    """Refuse options where no chat template is applied that could read them.

    Raises:
        BadArgument: One is given.

    """
    for name, value in options.render_kwargs.items():
        argument = "chat_template_kwargs" if name == "variables" else name
        raise InvalidArgument(
            argument, value, "left out with apply_chat_template=False: no template reads it"
        )


_PROBE_MESSAGES = (Message("user", "Zyzzyva"),)  # a word that no template has


def _caller_stacklevel() -> int:
    """Return the `stacklevel` by which a warning of the calling function names the user's line."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 - there is no other way before Python 3.12
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("litgpt."):
        frame, level = frame.f_back, level + 1
    return level


def to_messages(prompt: object, sys_prompt: str | None = None) -> tuple[Message, ...]:
    """Return a user's text, or a list of messages, as messages; `sys_prompt` comes first.

    Raises:
        BadArgument: The prompt is empty, or a system prompt is given twice.
        WrongType: The prompt is neither a text nor messages.

    """
    if sys_prompt is not None and not isinstance(sys_prompt, str):
        raise WrongType("sys_prompt", sys_prompt, "a string or None")
    said = (Message("user", _text(prompt)),) if isinstance(prompt, str) else parse_messages(prompt)
    if not sys_prompt:
        return said
    if said[0].role == "system":
        raise InvalidArgument("sys_prompt", sys_prompt, "None when the messages begin with a system message")
    return (Message("system", sys_prompt), *said)


def split_prompts(value: object) -> tuple[Sequence[str | Messages], bool]:
    """Return one prompt or a list of them as a tuple, and whether it was a list.

    A list of messages is one prompt; a list of texts, or of lists of messages, is several.

    Raises:
        BadArgument: It is empty.
        WrongType: It is none of these.

    """
    expected = "a string, a list of messages, or a list of strings or of such lists"
    if isinstance(value, str):
        return (value,), False
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Sequence):
        raise WrongType("prompt", value, expected)
    if not value:
        raise InvalidArgument("prompt", value, "at least one prompt")
    if all(isinstance(one, str) for one in value):
        return tuple(value), True
    if all(isinstance(one, Sequence) and not isinstance(one, str) for one in value):
        return tuple(parse_messages(one) for one in value), True
    return (parse_messages(value),), False


def _text(prompt: str) -> str:
    if not prompt:
        raise InvalidArgument("prompt", prompt, "a non-empty string")
    return prompt
