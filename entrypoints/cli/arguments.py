"""What a user typed, checked before anything is loaded for it."""

import typer

from litgpt.cli import console


def one_prompt(argument: str | None, option: str | None) -> str | None:
    """Return the prompt of a command that takes it after MODEL or with --prompt.

    Raises:
        typer.BadParameter: It is passed in both ways.

    """
    if argument is not None and option is not None:
        raise typer.BadParameter("The prompt is given twice: pass it after MODEL or with --prompt.")
    return option if argument is None else argument


def prompt_text(prompt: str, sys_prompt: str | None = None) -> str:
    """Return the prompt, or stdin if it is `-`.

    Raises:
        BadArgument: It is empty, or no text.

    """
    from litgpt.application.render_prompt import to_messages

    text = decode_input(console.read_all() if prompt == "-" else prompt)
    to_messages(text, decode_input(sys_prompt) if sys_prompt else None)
    return text


def decode_input(text: str) -> str:
    """Return a text that came from outside.

    Raises:
        InvalidArgument: It contains bytes that are not valid text.

    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        from litgpt.domain.errors import InvalidArgument

        raise InvalidArgument("prompt", text, "text in the encoding of this terminal") from error
    return text
