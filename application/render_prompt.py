"""Render messages as prompts and encode them."""

import sys
import warnings
from collections.abc import Iterator, Sequence

import attrs

from litgpt.domain.chat.messages import Message, Messages, parse_messages
from litgpt.domain.chat.special_token_escapes import ESCAPE, map_strings
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.template_options import NO_TEMPLATE_OPTIONS, TemplateOptions
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax, answer_syntax
from litgpt.domain.tool_calls.tool_choice import AUTO, ToolChoice


class PromptWarning(UserWarning):
    """A prompt probably does not have the format that the model was trained on."""


@attrs.frozen
class RenderPrompt:
    """Renders messages in the model's prompt style (None: its chat template) and encodes them.

    Attributes:
        raw: Whether prompts are strings that are sent unchanged, without the style.
        parse_special_tokens: Whether special tokens such as `<|im_end|>` in messages and tools become control
            tokens. By default, only special tokens of the style or template do.
        tool_choice: Which tools the answer calls.
    """

    tokenizer: Tokenizer
    style: PromptStyle | None
    options: TemplateOptions = NO_TEMPLATE_OPTIONS
    raw: bool = False
    parse_special_tokens: bool = False
    tool_choice: ToolChoice = AUTO

    def __attrs_post_init__(self) -> None:
        if self.raw:
            reject_options(self.options)

    def render(self, messages: Messages, *, add_generation_prompt: bool = True) -> str:
        """Render messages as text, with the beginning of the answer if `add_generation_prompt`."""
        messages = self.escape_messages(messages)
        if self.raw:
            return "".join(self._raw_text(message) for message in messages)
        if self.style is None:
            options = self._escaped_options()
            return self.tokenizer.render(
                messages, add_generation_prompt=add_generation_prompt, options=options
            )
        return self.style.render(messages, add_generation_prompt=add_generation_prompt, options=self.options)

    def encode(self, rendered: str, *, continues: bool = False) -> list[int]:
        """Return the token ids of a rendered prompt, or with `continues` of its rest.

        A chat template renders the beginning-of-sequence token itself; with a style, the tokenizer adds it.
        """
        by_template = self.style is None and not self.raw
        bos = False if continues or by_template else None
        if self.parse_special_tokens or ESCAPE not in rendered:
            return self.tokenizer.encode(rendered, bos=bos)
        return self.tokenizer.encode(rendered, bos=bos, escaped=True)

    def after_calls(self) -> "RenderPrompt":
        """Return the renderer of the answer to the results of tools: a new one, which need not call any."""
        choice = attrs.evolve(self.tool_choice, mode="auto", names=())
        options = attrs.evolve(self.options, continue_final_message=False)
        return attrs.evolve(self, options=options, tool_choice=choice)

    def answer_syntax(
        self, rendered: str, *, split_reasoning: bool, calls: bool = True
    ) -> AnswerSyntax | None:
        """Return how the answer to a rendered prompt is parsed; None: it is all text.

        Args:
            rendered: The prompt.
            split_reasoning: Whether reasoning is split off without tools. With tools, it always is.
            calls: Whether the answer may call tools.

        Raises:
            InvalidArgument: The answer has to call a tool, and may not.
        """
        if self.tool_choice.is_required and not calls:
            requested = self.tool_choice.names or self.tool_choice.mode
            expected = "'auto' or 'none' with schema, regex, grammar or choices, which exclude calls"
            raise InvalidArgument("tool_choice", requested, expected)
        tools = self.options.tools if calls else None
        if self.raw or self.style is not None or not (tools or split_reasoning):
            return None
        return answer_syntax(
            self.tokenizer.template_source(self.options) or "",
            rendered,
            tools,
            continues=bool(self.options.continue_final_message),
            choice=self.tool_choice,
        )

    def reasoning_syntax(self, rendered: str) -> AnswerSyntax | None:
        """Return the syntax of reasoning in the answer to a prompt, which may be rendered elsewhere."""
        continues = bool(self.options.continue_final_message)
        template = self.tokenizer.template_source(self.options) or ""
        return answer_syntax(template, rendered, None, continues=continues)

    def warn_if_rendered(self, prompt: str) -> None:
        """Warn if a prompt appears to be rendered with the chat template already."""
        if self.raw:
            return
        text = prompt.lstrip()
        mark = next((mark for mark in self._prompt_prefixes() if text.startswith(mark)), None)
        if mark is None:
            return
        style = "its chat template" if self.style is None else f"the prompt style {self.style.name}"
        warnings.warn(
            f"The prompt begins with {mark!r}, as if {style} had been applied already. It is applied again. "
            "Pass apply_chat_template=False to send the prompt unchanged.",
            PromptWarning,
            stacklevel=_caller_stacklevel(),
        )

    def _prompt_prefixes(self) -> Iterator[str]:
        """Yield prefixes of rendered prompts: a special token, or the text before the first message.

        After a beginning-of-sequence token, which callers may omit, the next prefix is yielded as well.
        """
        try:
            rest, separator, _ = (
                attrs.evolve(self, options=NO_TEMPLATE_OPTIONS)
                .render(_PROBE_MESSAGES)
                .partition(_PROBE_MESSAGES[0].text)
            )
        except UnsupportedPrompt:
            return
        while separator and rest.strip():
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
            expected = "a string with apply_chat_template=False, which sends it unchanged"
            raise WrongType("prompt", message.as_dict(), expected)
        return message.text

    def escape_messages(self, messages: Messages) -> Messages:
        """Escape special tokens in messages, unless `parse_special_tokens` is set."""
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

    def _escaped_options(self) -> TemplateOptions:
        tools, variables = self.options.tools, self.options.variables
        if self.parse_special_tokens or not (tools or variables):
            return self.options
        escape = self.tokenizer.escape
        return attrs.evolve(
            self.options, tools=map_strings(tools, escape), variables=map_strings(variables, escape)
        )


def reject_options(options: TemplateOptions) -> None:
    """Reject options of chat templates for raw prompts."""
    for name, value in attrs.asdict(options, recurse=False).items():
        if value not in (None, False, {}):
            argument = "chat_template_kwargs" if name == "variables" else name
            raise InvalidArgument(argument, value, "omitted with apply_chat_template=False")


_PROBE_MESSAGES = (Message("user", "Zyzzyva"),)  # does not occur in templates


def _caller_stacklevel() -> int:
    """Return the `stacklevel` at which a warning of the calling function shows the user's line."""
    frame, level = sys._getframe(1), 1  # noqa: SLF001 - the public way needs Python 3.12
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("litgpt."):
        frame, level = frame.f_back, level + 1
    return level


def to_messages(prompt: object, sys_prompt: str | None = None) -> tuple[Message, ...]:
    """Return a string or a list of messages as messages, after the system message `sys_prompt`."""
    if sys_prompt is not None and not isinstance(sys_prompt, str):
        raise WrongType("sys_prompt", sys_prompt, "a string or None")
    messages = (Message("user", _text(prompt)),) if isinstance(prompt, str) else parse_messages(prompt)
    if not sys_prompt:
        return messages
    if messages[0].role == "system":
        raise InvalidArgument("sys_prompt", sys_prompt, "None when the messages begin with a system message")
    return (Message("system", sys_prompt), *messages)


def split_prompts(value: object) -> tuple[Sequence[str | Messages], bool]:
    """Return one prompt or a list of prompts as a tuple, and whether it was a list of prompts.

    A list of messages is one prompt; a list of strings, or of lists of messages, is several.
    """
    expected = "a string, a list of messages, or a list of strings or of lists of messages"
    if isinstance(value, str):
        return (value,), False
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Sequence):
        raise WrongType("prompt", value, expected)
    if not value:
        raise InvalidArgument("prompt", value, "at least one prompt")
    if all(isinstance(prompt, str) for prompt in value):
        return tuple(value), True
    if all(isinstance(prompt, Sequence) and not isinstance(prompt, str) for prompt in value):
        return tuple(parse_messages(prompt) for prompt in value), True
    return (parse_messages(value),), False


def _text(prompt: str) -> str:
    if not prompt:
        raise InvalidArgument("prompt", prompt, "a non-empty string")
    return prompt
