"""Prompt styles, and how a model's style is chosen."""

from difflib import get_close_matches

from litgpt.domain.errors import UnsupportedModel, WrongType
from litgpt.domain.prompts.names import style_of
from litgpt.domain.prompts.questions import PLAIN
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.prompts.styles import STYLES

_LITGPT = "litgpt.prompts."


def style_named(name: str) -> PromptStyle:
    """Return a style by name: `llama3`, `Llama3` or `litgpt.prompts.Llama3`.

    Raises:
        UnsupportedModel: The style does not exist. Custom classes are never imported, because a file that
            names code to run is not trusted.

    """
    wanted = name.removeprefix(_LITGPT)
    for style in STYLES:
        if wanted in (style.name, style.saved_as):
            return style
    close = get_close_matches(wanted.casefold(), [style.name for style in STYLES], n=2)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    known = ", ".join(style.saved_as for style in STYLES)
    raise UnsupportedModel(name, f"there is no prompt style of this name.{hint} Available styles: {known}.")


def style_of_caller(value: object) -> PromptStyle | None:
    """Return the `prompt_style` argument, a style, a name or None, as a style.

    Raises:
        UnsupportedModel: The style does not exist.
        WrongType: The argument has another type.

    """
    if isinstance(value, str):
        return style_named(value)
    if value is None or isinstance(value, PromptStyle):
        return value
    raise WrongType("prompt_style", value, "a PromptStyle, the name of one, or None")


def choose_style(saved: str | None, *, has_chat_template: bool, name: str = "") -> PromptStyle | None:
    """Return a model's prompt style; None is the chat template of its tokenizer.

    The order of precedence is the style saved with the checkpoint, the chat template, the style of the
    model's name, and plain text.

    Args:
        saved: Name of the style that was saved with the checkpoint, if any.
        has_chat_template: Whether the tokenizer has a chat template.
        name: The model's repository or path.

    Raises:
        UnsupportedModel: The saved style does not exist.

    """
    if saved is not None:
        return style_named(saved)
    if has_chat_template:
        return None
    return style_of(name) or PLAIN


__all__ = ["STYLES", "PromptStyle", "choose_style", "style_named", "style_of_caller"]
