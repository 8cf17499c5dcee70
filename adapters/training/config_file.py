"""Read and write training configs as YAML."""

import re
from pathlib import Path

import attrs
import yaml

from litgpt.application.files.atomic_write import atomic_write
from litgpt.domain.errors import CorruptFile, UnsupportedOperation
from litgpt.domain.training.config import TrainConfig
from litgpt.domain.validation.untrusted_files import MAX_DEPTH, error_message, translate_read_errors

_MAX_BYTES = 100_000  # PyYAML parses about this much per second


class _Loader(yaml.SafeLoader):
    """Reads 2e-4 as a float; YAML 1.1 requires 2.0e-4."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_settings(path: Path) -> dict[str, object]:
    """Return the settings in a YAML file, without validation; the errors are MissingFile and CorruptFile."""
    with translate_read_errors(path, missing="the recipe does not exist.", reason="it is not plain YAML"):
        if path.stat().st_size > _MAX_BYTES:
            raise CorruptFile(str(path), f"it is larger than the limit of {_MAX_BYTES} bytes for a recipe.")
        text = path.read_text(encoding="utf-8-sig")
        _check_plain(text)
        settings = yaml.load(text, _Loader)  # noqa: S506 - a subclass of SafeLoader
    if not isinstance(settings, dict):
        raise CorruptFile(str(path), "a recipe consists of settings such as `batch_size: 4`.")
    return {str(name).replace("-", "_"): value for name, value in settings.items()}


def _check_plain(text: str) -> None:
    """Reject aliases, which can expand to unbounded memory, and deep nesting."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias; repeat the value instead")


def write_config(path: Path, config: TrainConfig) -> None:
    """Write a training config with all settings."""
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attrs.asdict(config).items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        reason = f"{error_message(error).lower()}. Choose another out_dir."
        raise UnsupportedOperation(f"Training to {path.parent}", reason) from error
