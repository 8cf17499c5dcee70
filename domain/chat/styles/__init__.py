"""Prompt styles, and how a model's style is chosen."""

from difflib import get_close_matches

from litgpt.domain.chat.styles.model_name_rules import style_for_model
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.registry import STYLES
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.errors import UnsupportedModel, WrongType

_LITGPT_PREFIX = "litgpt.prompts."


def find_style(name: str) -> PromptStyle:
    """Return a style by name: `llama3`, `Llama3` or `litgpt.prompts.Llama3`.

    Custom classes are never imported, because a file that names code to run is not trusted.
    """
    style_name = name.removeprefix(_LITGPT_PREFIX)
    for style in STYLES:
        if style_name in (style.name, style.litgpt_name):
            return style
    close = get_close_matches(style_name.casefold(), [style.name for style in STYLES], n=2)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    known = ", ".join(style.litgpt_name for style in STYLES)
    raise UnsupportedModel(name, f"there is no prompt style of this name.{hint} Available styles: {known}.")


def resolve_style(value: object) -> PromptStyle | None:
    """Return the `prompt_style` argument, a style, a name or None, as a style.

    Raises:
        UnsupportedModel: The style does not exist.
        WrongType: The argument has another type.
    """
    if isinstance(value, str):
        return find_style(value)
    if value is None or isinstance(value, PromptStyle):
        return value
    raise WrongType("prompt_style", value, "a PromptStyle, the name of one, or None")


def choose_style(saved: str | None, *, has_chat_template: bool, name: str = "") -> PromptStyle | None:
    """Return a model's prompt style; None is the chat template of its tokenizer.

    The order of precedence is the style saved with the checkpoint, the chat template, the style of the
    model's name (a repository or path), and plain text.
    """
    if saved is not None:
        return find_style(saved)
    if has_chat_template:
        return None
    return style_for_model(name) or PLAIN


__all__ = ["STYLES", "PromptStyle", "choose_style", "find_style", "resolve_style"]
