"""Prompt styles, as data, and which of them a model gets."""

from collections.abc import Mapping
from difflib import get_close_matches

from litgpt.domain.errors import UnsupportedModel, WrongType
from litgpt.domain.prompts.names import style_of
from litgpt.domain.prompts.questions import PLAIN
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.prompts.styles import STYLES

FAMILY_STYLES: Mapping[str, PromptStyle] = {}
"""The style of families all of whose members chat; a base model must not get a chat style."""

_LITGPT = "litgpt.prompts."


def style_named(name: str) -> PromptStyle:
    """Return the style of a name: `llama3`, `Llama3` or `litgpt.prompts.Llama3`.

    Raises:
        UnsupportedModel: There is none of this name. A class of somebody's own is never imported: a file that
            names code to run is not to be trusted.

    """
    wanted = name.removeprefix(_LITGPT)
    for style in STYLES:
        if wanted in (style.name, style.saved_as):
            return style
    close = get_close_matches(wanted.casefold(), [style.name for style in STYLES], n=2)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    known = ", ".join(style.saved_as for style in STYLES)
    raise UnsupportedModel(name, f"there is no prompt style of this name.{hint} The styles are: {known}.")


def style_of_caller(value: object) -> PromptStyle | None:
    """Return what a caller passed as `prompt_style`: a style, the style of a name, or None.

    Raises:
        UnsupportedModel: There is none of this name.
        WrongType: It is none of these.

    """
    if isinstance(value, str):
        return style_named(value)
    if value is None or isinstance(value, PromptStyle):
        return value
    raise WrongType("prompt_style", value, "a PromptStyle, the name of one, or None")


def choose_style(
    saved: str | None, *, has_chat_template: bool, family: str, name: str = ""
) -> PromptStyle | None:
    """Return a model's prompt style; None is the chat template of its tokenizer.

    First comes a style that was saved with the checkpoint, then its chat template, then what its name says,
    then its family, then the text as it is.

    Args:
        saved: The name that was saved with the checkpoint, if one was.
        has_chat_template: Whether its tokenizer came with a chat template.
        family: The `model_type` of its config.
        name: What the model is called: a repository, or a path.

    Raises:
        UnsupportedModel: The saved style is not known here.

    """
    if saved is not None:
        return style_named(saved)
    if has_chat_template:
        return None
    return style_of(name) or FAMILY_STYLES.get(family, PLAIN)


__all__ = ["FAMILY_STYLES", "STYLES", "PromptStyle", "choose_style", "style_named", "style_of_caller"]
