"""Write prompts: what the caller passed, as the ids that the model expects."""

from collections.abc import Sequence

import attrs

from litgpt.domain.chat import Message, Messages, messages
from litgpt.domain.errors import BadArgument, WrongType
from litgpt.domain.ports import Tokenizer
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.template_options import NO_OPTIONS, TemplateOptions


@attrs.frozen
class WritePrompt:
    """Renders messages in the model's prompt style and encodes them.

    Attributes:
        tokenizer: The model's tokenizer.
        style: The model's prompt style; None is its chat template.
        options: Tools and variables for the chat template.

    """

    tokenizer: Tokenizer
    style: PromptStyle | None
    options: TemplateOptions = NO_OPTIONS

    def render(self, conversation: Messages, *, answer: bool = True) -> str:
        """Return the text that ends where the model's answer begins, or before that if not `answer`.

        Raises:
            BadPrompt: The style cannot express these messages.

        """
        if self.style is None:
            return self.tokenizer.render(conversation, answer=answer, **self.options.given)
        return self.style.render(conversation, answer=answer, options=self.options)

    def encode(self, rendered: str) -> list[int]:
        """Return the ids of a rendered prompt.

        A chat template writes the beginning token itself, if the model wants one; a style leaves that to the
        tokenizer.
        """
        return self.tokenizer.encode(rendered, bos=False if self.style is None else None)


def conversation(prompt: object, sys_prompt: str | None = None) -> tuple[Message, ...]:
    """Return a user's text, or a list of messages, as messages; `sys_prompt` comes first.

    Raises:
        BadArgument: The prompt is empty, or a system prompt is given twice.
        WrongType: The prompt is neither a text nor messages.

    """
    if sys_prompt is not None and not isinstance(sys_prompt, str):
        raise WrongType("sys_prompt", sys_prompt, "a string or None")
    said = (Message("user", _text(prompt)),) if isinstance(prompt, str) else messages(prompt)
    if not sys_prompt:
        return said
    if said[0].role == "system":
        raise BadArgument("sys_prompt", sys_prompt, "None when the messages begin with a system message")
    return (Message("system", sys_prompt), *said)


def prompts(value: object) -> tuple[Sequence[str | Messages], bool]:
    """Return one prompt or a list of them as a tuple, and whether it was a list.

    A list of messages is one prompt; a list of texts, or of lists of messages, is several.

    Raises:
        BadArgument: It is empty.
        WrongType: It is none of these.

    """
    expected = "a text, a list of messages, or a list of those"
    if isinstance(value, str):
        return (value,), False
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Sequence):
        raise WrongType("prompt", value, expected)
    if not value:
        raise BadArgument("prompt", value, "at least one prompt")
    if all(isinstance(one, str) for one in value):
        return tuple(value), True
    if all(isinstance(one, Sequence) and not isinstance(one, str) for one in value):
        return tuple(messages(one) for one in value), True
    return (messages(value),), False


def _text(prompt: str) -> str:
    if not prompt:
        raise BadArgument("prompt", prompt, "a text of at least one character")
    return prompt
