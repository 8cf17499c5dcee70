"""How a command that fails says so: on stderr, after `error:`, in the terms of the command line."""

import io
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from litgpt.cli import console
from litgpt.domain.secrets import without_secrets

if TYPE_CHECKING:
    from litgpt.domain.errors import LitGPTError

UsageError: Any = typer.BadParameter.__base__
"""The class of errors in how a command is called. Typer does not export it."""

_WORDS = (
    (", or None", ", or left out"),
    ("True, False or None", "given, negated or left out"),
    ("overwrite=True", "--force"),
    ("resume 'last'", "--resume last"),
)


def show_usage_error(error: Any) -> None:
    """Write how a command is called, and what is wrong with the way it was."""
    written = io.StringIO()
    error.show(file=written)
    sys.stderr.write(without_secrets(written.getvalue()).replace("\nError: ", "\nerror: "))


def show_failure(error: "LitGPTError", options: Mapping[str, str]) -> None:
    """Write an error of the library.

    Args:
        error: What the command ended with.
        options: The command's options as they are written, such as `--top-k`, by the names of arguments.

    """
    from litgpt.domain.errors import BadArgument
    from litgpt.domain.overwriting import WouldOverwrite

    if isinstance(error, WouldOverwrite):
        error.remedy = _as_typed(error.remedy)
    if isinstance(error, BadArgument) and error.name in options:
        error.name, error.expected = options[error.name], _as_typed(error.expected)
    console.error(str(error))


def _as_typed(text: str) -> str:
    """Return a part of an error with options as they are written on the command line."""
    for python, words in _WORDS:
        text = text.replace(python, words)
    return text
