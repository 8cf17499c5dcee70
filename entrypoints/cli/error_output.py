"""Report errors on stderr, with option names in place of Python's arguments."""

import io
import re
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from litgpt.cli import console
from litgpt.domain.formatting.redaction import redact
from litgpt.domain.validation.option_names import suggest_name

if TYPE_CHECKING:
    from litgpt.domain.errors import LitGPTError

UsageError: Any = typer.BadParameter.__base__
"""Base class of usage errors (`click.UsageError`), which typer does not export."""

_OF_VALUES = (
    *((" or None", " or omitted"), ("None or ", ""), ("None, ", "")),
    *(("None with ", "omitted with "), ("False with ", "omitted with ")),
)
"""Replacements in `InvalidArgument.expected`: None in Python is an omitted option here."""

_QUOTED_WORD = re.compile(r"'([\w.:-]+)'(?!:)")
_KEYWORD = re.compile(r"""(?<![\w'"/.=-])([a-z_]+)=('[^']*'|\w(?:[\w.-]*\w)?)?""")
"""A keyword argument, such as `devices=2` or `method='full'`, or its name alone (`devices=`)."""


_PARSER_MESSAGES = (
    (re.compile(r"'.*' is not a valid float\.", re.DOTALL), "it must be a number."),
    (re.compile(r"'.*' is not a valid int\.", re.DOTALL), "it must be an integer."),
)
"""Messages of the option parser, and their replacements."""


def show_usage_error(error: Any, command: str) -> None:
    """Write a usage error, with the usage of the command and a suggestion for a misspelled option.

    `command` is the command as it was typed.
    """
    if hasattr(error, "possibilities"):
        options = {
            option.lstrip("-").replace("-", "_"): option
            for parameter in (error.ctx.command.params if error.ctx else ())
            for option in parameter.opts
            if option.startswith("--")
        }
        unknown = error.option_name.lstrip("-").replace("-", "_")
        close = suggest_name(unknown, options)
        error.possibilities = None
        error.message = f"No such option: {error.option_name}."
        error.message += f" Did you mean {options[close]}?" if close else ""
    elif error.ctx and error.ctx.info_name == "generate" and "unexpected extra" in error.message:
        error.message += ". Put a prompt of several words in quotes."
    elif error.message.startswith("No such command"):
        from litgpt.cli.models import names_model

        if names_model(command):
            model = shlex.quote(command)
            error.message += (
                f" To use a model, run `litgpt chat {model}` or `litgpt generate {model} PROMPT`."
            )
    for pattern, replacement in _PARSER_MESSAGES:
        error.message = pattern.sub(replacement, error.message)
    written = io.StringIO()
    error.show(file=written)
    sys.stderr.write(redact(written.getvalue()).replace("\nError: ", "\nerror: "))


def show_failure(error: "LitGPTError", options: Mapping[str, str]) -> None:
    """Write an error of the library to stderr.

    `options` maps the Python arguments to the options and arguments of the command, as `--top-k` or `MODEL`.
    """
    from litgpt.domain.errors import InvalidArgument, TokenizerMismatch

    if isinstance(error, InvalidArgument) and (name := _NAMES.get(error.name, error.name)) in options:
        error.name = options[name]
        for python, words in _OF_VALUES:
            error.expected = error.expected.replace(python, words)
        error.expected = _QUOTED_WORD.sub(r"\1", error.expected)
    if isinstance(error, TokenizerMismatch) and "tokenizer_dir" not in options:
        error.remedy = "Add the tokenizer.json or tokenizer.model of the model to its folder."
    console.error(as_typed(str(error), options))


def as_typed(text: str, options: Mapping[str, str]) -> str:
    """Replace Python arguments, as in "Pass overwrite=True", with the options of the command."""

    def typed(match: re.Match[str]) -> str:
        name, value = match[1], match[2] or ""
        option = options.get(name) or options.get(_NAMES.get(name, name), "")
        if not option.startswith("-"):
            return match[0]
        if value == "False":
            return option.replace("--", "--no-", 1)
        return f"{option} {value.strip(chr(39))}" if value not in ("", "True") else option

    return re.sub(r"\bout_dir\b", options.get("out_dir", "out_dir"), _KEYWORD.sub(typed, text))


_NAMES = {
    "allowed_hosts": "allowed_host",
    "api_keys": "api_key_file",
    "cors_origins": "cors",
    "overwrite": "force",
    "request_timeout": "timeout",
    "targets": "lora_targets",
    "val_split_fraction": "val_split",
}
"""Python arguments whose option has a different name."""
