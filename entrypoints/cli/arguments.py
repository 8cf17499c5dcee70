"""Validation of prompts, before a model is loaded."""

from litgpt.cli import console
from litgpt.cli.error_output import UsageError


def one_prompt(argument: str | None, option: str | None) -> str | None:
    """Return the prompt, which can be passed after MODEL or with --prompt, but not both ways."""
    if argument is not None and option is not None:
        raise UsageError("The prompt is passed twice: pass it either after MODEL or with --prompt.")
    return option if argument is None else argument


def prompt_text(prompt: str, sys_prompt: str | None = None) -> str:
    """Return the prompt, or stdin if it is `-`; it must not be empty."""
    from litgpt.application.render_prompt import to_messages

    text = decode_input(console.read_all() if prompt == "-" else prompt)
    to_messages(text, decode_input(sys_prompt) if sys_prompt else None)
    return text


def decode_input(text: str) -> str:
    """Return text from the command line or stdin, which must not contain undecodable bytes (surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        from litgpt.domain.errors import InvalidArgument

        raise InvalidArgument("prompt", text, "text in the encoding of this terminal") from error
    return text
