"""`litgpt`: register the commands and map their results to exit statuses.

Exit status 0: success. 1: failure, with the reason in one line on stderr. 2: usage error. 130: Ctrl-C.
Exceptions that are not errors of the library keep their traceback. Commands import their dependencies in the
function body, so that `--help` is fast.
"""

import shutil
import sys
from collections.abc import Sequence
from copy import copy
from typing import Annotated, Any

import typer

from litgpt.cli import console
from litgpt.cli.batch import batch
from litgpt.cli.benchmark import benchmark
from litgpt.cli.chat import chat
from litgpt.cli.check import check
from litgpt.cli.convert import convert
from litgpt.cli.deprecated import command_name, replacement, translate_alias
from litgpt.cli.download import download
from litgpt.cli.error_output import UsageError, show_failure, show_usage_error
from litgpt.cli.generate import generate
from litgpt.cli.info import info
from litgpt.cli.models import list_models, remove
from litgpt.cli.serve import serve
from litgpt.cli.training import COMMANDS, add_options

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich takes as long as all other imports together
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": shutil.get_terminal_size().columns,
        # Normalizes command and option names, not values: LitGPT 0.5 used underscores (--max_new_tokens).
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
)
for command in (generate, chat, serve, batch, benchmark, check, info, download, convert):
    app.command()(command)
app.command("list")(list_models)
app.command("rm")(remove)
for training_command in COMMANDS.values():
    app.command()(training_command)


def _version(*, requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        console.show(f"litgpt {version('litgpt')}")
        raise typer.Exit


@app.callback()
def litgpt(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda requested: _version(requested=requested),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Run, chat with, serve, benchmark, fine-tune and pretrain language models.

    Try: litgpt generate smollm2 "What do llamas eat?"
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command, without the program name, and return its exit status."""
    if advice := replacement(arguments):
        console.error(advice)
        return 2
    arguments = translate_alias(arguments)
    add_options(command_name(arguments))
    command = command_group(arguments)
    try:
        status = command.main(list(arguments), prog_name="litgpt", standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except typer.Abort:
        return 1
    except UsageError as error:
        show_usage_error(error, command_name(arguments))
        return 2
    except Exception as error:
        from litgpt.domain.errors import LitGPTError

        if not isinstance(error, LitGPTError):
            raise
        show_failure(error, _options(command, command_name(arguments)))
        return 1
    return status if isinstance(status, int) else 0


def command_group(arguments: Sequence[str]) -> Any:
    """Return the commands: only the one that runs, because building each takes milliseconds."""
    name = command_name(arguments[:1])
    names = [(it, it.name or getattr(it.callback, "__name__", None)) for it in app.registered_commands]
    chosen = [it for it, registered in names if registered == name]
    if not chosen:  # an option of the group, such as --help, or an error that lists the commands
        return typer.main.get_command(app)
    only = copy(app)
    only.registered_commands = chosen
    return typer.main.get_command(only)


def _options(group: Any, name: str) -> dict[str, str]:
    """Return a command's options and arguments, such as `--top-k`, by the names of the Python arguments."""
    command = group.commands.get(name)
    return {
        option.name: max(option.opts, key=len)
        if option.opts[0].startswith("-")
        else (option.metavar or option.name.upper())
        for option in (command.params if command else ())
    }


def main() -> None:
    """Run the command in `sys.argv` and exit with its status."""
    # Undecodable input becomes surrogates, which `decode_input` rejects; unencodable output becomes "?".
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "replace")):
        if stream is not None:  # closed, as by `<&-`
            stream.reconfigure(errors=errors)  # type: ignore[union-attr] # a TextIOWrapper in every process
    sys.exit(run(sys.argv[1:]))
