"""`litgpt list` and `litgpt rm`: the models on this machine."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, NamedTuple

import typer

from litgpt.cli import console, options
from litgpt.domain.formatting.units import format_bytes


class _LocalModel(NamedTuple):
    """A model on this machine; `where` is its location in words, `package` empty unless pip installed it."""

    name: str
    where: str
    path: Path
    package: str = ""

    @property
    def nbytes(self) -> int:
        """The size of its files, without symbolic links, which the Hub cache uses for its own files."""
        if self.path.is_file():
            return self.path.stat().st_size
        total = 0
        for file in self.path.rglob("*"):
            with suppress(OSError):  # a concurrent download or removal
                if not file.is_symlink() and file.is_file():
                    total += file.stat().st_size
        return total


def list_models(*, as_json: options.AsJson = False) -> None:
    """List the models on this machine and their sizes."""
    models = list(_local_models())
    if as_json:
        console.show_json([_as_dict(model) for model in models])
        return
    if not models:
        console.note("No model is stored on this machine yet. `litgpt download list` shows names.")
        return
    rows = [(model.name, format_bytes(model.nbytes), model.where) for model in models]
    console.table([("NAME", "SIZE", "WHERE"), *rows])


def remove(
    model: Annotated[
        str, typer.Argument(help="Name of a model, as shown by `litgpt list`.", metavar="MODEL")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a model from this machine, after confirmation."""
    from litgpt.domain.catalogue import repository_for
    from litgpt.domain.errors import MissingArgument, ModelNotFound, UnsupportedOperation

    stored = list(_local_models())
    match = next((entry for entry in stored if entry.name in (model, repository_for(model))), None)
    if match is None:
        similar = tuple(get_close_matches(model, [entry.name for entry in stored]))
        raise ModelNotFound(model, searched=("the models that `litgpt list` shows",), similar=similar)
    if match.package:
        console.error(
            f"{model} is in the package {match.package}; `pip uninstall {match.package}` removes it."
        )
        raise typer.Exit(1)
    question = f"Remove {match.name} ({format_bytes(match.nbytes)}, {match.path})?"
    if not yes:
        if not console.stdin_is_terminal():
            raise MissingArgument("--yes", yes, "without a terminal, pass it to confirm the removal.")
        if not typer.confirm(question, err=True):
            raise typer.Exit(1)
    try:
        _remove(match.path)
    except OSError as error:
        raise UnsupportedOperation(f"Removing {match.path}", f"{error.strerror or error}.") from error
    console.note(f"Removed {match.name} from {match.where}.")


def names_model(word: str) -> bool:
    """Return whether a word names a model: a path, a repository on the Hub, or a known short name."""
    from litgpt.adapters.checkpoints.files.file_checks import existing_paths
    from litgpt.domain.catalogue import repository_for

    if "/" in word or repository_for(word) or any(existing_paths(word, Path("checkpoints"))):
        return True
    return any(model.name == word for model in _local_models())


def _remove(path: Path) -> None:
    """Remove a file or a folder. Folders are renamed first: an interruption leaves no partial model."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    aside = Path(mkdtemp(prefix=".removing-", dir=path.parent))
    path.rename(aside / path.name)
    shutil.rmtree(aside)


def _local_models() -> Iterator[_LocalModel]:
    from litgpt.adapters.checkpoints.installed_store import INSTALLED_MODELS, model_file
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.adapters.hub.cache import HubCache
    from litgpt.adapters.hub.env import resolve_cache_dir
    from litgpt.domain.errors import LitGPTError

    local = LocalStore()
    for name in local.names():
        yield _LocalModel(name, f"{local.root}/", local.root / name)
    for model in INSTALLED_MODELS:
        with suppress(LitGPTError):  # not installed
            yield _LocalModel(
                model.name, f"the package {model.distribution}", model_file(model), model.distribution
            )
    cache = HubCache(resolve_cache_dir(None))
    for repository in sorted(cache.repositories()):
        yield _LocalModel(repository, "the Hub cache", cache.folder_of(repository))


def _as_dict(model: _LocalModel) -> dict[str, object]:
    return {"name": model.name, "nbytes": model.nbytes, "where": model.where, "path": str(model.path)}
