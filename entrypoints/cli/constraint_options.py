"""The options of the commands for the form of answers: --schema, --regex, --grammar and --choices."""

from typing import TYPE_CHECKING, Any

from litgpt.cli.arguments import json_argument, json_or_file

if TYPE_CHECKING:
    from litgpt.domain.generation.request import Completion


def constraint_kwargs(
    schema: str | None, regex: str | None, grammar: str | None, choices: str | None, *, check: bool = True
) -> dict[str, Any]:
    """Return the constraint as keyword arguments of `LLM.generate`, checked before a model is loaded.

    Without `check`, only their types are checked: a server compiles the constraint.

    Raises:
        InvalidArgument: It is not valid, or there are several.
        NotInstalled: It needs a package that is not installed.
    """
    from litgpt.application.structured_output import output_format

    kwargs: dict[str, Any] = {}
    if schema is not None:
        kwargs["schema"] = json_or_file("--schema", schema, "Pass a JSON file with a schema, or the schema.")
    if regex is not None:
        kwargs["regex"] = regex
    if grammar is not None:
        kwargs["grammar"] = _read(grammar)
    if choices is not None:
        kwargs["choices"] = _choices(choices)
    output = output_format(*(kwargs.get(name) for name in ("schema", "regex", "grammar", "choices")))
    if output is not None and check:
        from litgpt.container import container

        container.constraint_compiler().check(output.spec)
    return kwargs


def require_complete(completion: "Completion", constraint: dict[str, Any]) -> None:
    """Raise IncompleteAnswer if an answer that a program may read was cut off."""
    from litgpt.domain.generation.errors import IncompleteAnswer

    if constraint and completion.finish_reason != "stop":
        raise IncompleteAnswer(completion.text, completion.finish_reason)


def _choices(text: str) -> Any:
    if text.lstrip().startswith("["):
        return json_argument("--choices", text)
    return [choice for part in text.split(",") if (choice := part.strip())]


def _read(name: str) -> str:
    from litgpt.domain.errors import InvalidArgument
    from litgpt.domain.validation.untrusted_files import translate_read_errors
    from litgpt.domain.validators import local_path

    path = local_path("--grammar", name)
    if path.is_dir():
        raise InvalidArgument("--grammar", name, "the path of a file with a grammar, not of a folder")
    with translate_read_errors(path, missing="Pass the path of a file with a grammar."):
        return path.read_text(encoding="utf-8")
