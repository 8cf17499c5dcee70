"""A recipe as a YAML file."""

import re
from pathlib import Path

import attrs
import yaml

from litgpt.application.files.atomic_write import atomic_write
from litgpt.domain.errors import CorruptFile, UnsupportedOperation
from litgpt.domain.training.config import TrainConfig
from litgpt.domain.validation.untrusted_files import MAX_DEPTH, translate_read_errors

_MAX_BYTES = 100_000  # bytes; PyYAML reads about as many in a second


class _Loader(yaml.SafeLoader):
    """Reads 2e-4 as the number that it is; YAML 1.1 wants it written 2.0e-4."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_settings(path: Path) -> dict[str, object]:
    """Return the settings of a file, unchecked.

    Raises:
        MissingFile: There is no such file.
        CorruptFile: It holds no settings.

    """
    with translate_read_errors(path, missing="the recipe does not exist.", reason="it is not plain YAML"):
        if path.stat().st_size > _MAX_BYTES:
            raise CorruptFile(str(path), f"it has more than {_MAX_BYTES} bytes, which recipes never have.")
        text = path.read_text(encoding="utf-8-sig")
        _check_plain(text)
        found = yaml.load(text, _Loader)  # noqa: S506 - a safe one
    if not isinstance(found, dict):
        raise CorruptFile(str(path), "a recipe is a list of settings such as `batch_size: 4`.")
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def _check_plain(text: str) -> None:
    """Refuse aliases, with which a thousand bytes can take all memory, and deep nesting."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias; write the value out where it is needed")


def write_config(path: Path, config: TrainConfig) -> None:
    """Write a recipe, every setting of it.

    Raises:
        UnsupportedOperation: It cannot be written there.

    """
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attrs.asdict(config).items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()}. Choose another out_dir."
        raise UnsupportedOperation(f"Training to {path.parent}", reason) from error
