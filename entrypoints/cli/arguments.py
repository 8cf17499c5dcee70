"""Validation of prompts and JSON, before a model is loaded."""

from typing import Any

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


def json_argument(option: str, text: str) -> Any:
    """Return the JSON value that an option has."""
    from litgpt.domain.validation.untrusted_files import parse_json

    try:
        return parse_json(text)
    except ValueError as error:
        from litgpt.domain.errors import InvalidArgument

        raise InvalidArgument(option, text[:80], f"JSON ({error})") from error


def json_or_file(option: str, text: str, remedy: str) -> Any:
    """Return the JSON array or object that an option has, or that of the JSON file that it names."""
    if text.lstrip()[:1] in ("[", "{"):
        return json_argument(option, text)
    from litgpt.domain.validation.untrusted_files import read_json_file
    from litgpt.domain.validators import local_path

    return read_json_file(local_path(option, text), remedy=remedy)
