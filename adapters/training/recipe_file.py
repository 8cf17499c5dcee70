"""A recipe as a YAML file."""

import re
from pathlib import Path

import attrs
import yaml

from litgpt.application.atomic_files import atomic_write
from litgpt.domain.errors import DamagedFile, MissingFile, OutOfReach
from litgpt.domain.training.recipe import Recipe

_AT_MOST = 1_000_000


class _Loader(yaml.SafeLoader):
    """Reads 2e-4 as the number that it is; YAML 1.1 wants it written 2.0e-4."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_settings(path: Path) -> dict[str, object]:
    """Return the settings of a file, unchecked.

    Raises:
        MissingFile: There is no such file.
        DamagedFile: It holds no settings.

    """
    if not path.is_file():
        raise MissingFile(str(path), "no recipe is there.")
    if path.stat().st_size > _AT_MOST:
        raise DamagedFile(str(path), "it is far too long for a recipe.")
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedFile(str(path), f"it is no YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(found, dict):
        raise DamagedFile(str(path), "a recipe is a list of settings such as `batch_size: 4`.")
    return {str(name).replace("-", "_"): value for name, value in found.items()}


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe, every setting of it.

    Raises:
        OutOfReach: It cannot be written there.

    """
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in attrs.asdict(recipe).items()
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()}. Choose another out_dir."
        raise OutOfReach(f"Training to {path.parent}", reason) from error
