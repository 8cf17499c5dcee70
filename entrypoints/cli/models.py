"""`litgpt list` and `litgpt rm`: the models on this machine."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated

import attrs
import typer

from litgpt.cli import console, options
from litgpt.domain.units import size


@attrs.frozen
class _Stored:
    """A model on this machine: its name, where it is in words, its path, and its package if any."""

    name: str
    where: str
    path: Path
    package: str = ""

    @property
    def nbytes(self) -> int:
        """The bytes of its files; links do not count, because the Hub's cache links to its own files."""
        if self.path.is_file():
            return self.path.stat().st_size
        total = 0
        for file in self.path.rglob("*"):
            with suppress(OSError):  # it is being downloaded, or removed
                if not file.is_symlink() and file.is_file():
                    total += file.stat().st_size
        return total


def list_models(*, as_json: options.AsJson = False) -> None:
    """List the models on this machine and their sizes."""
    found = list(_stored())
    if as_json:
        console.show_json([_as_dict(one) for one in found])
        return
    if not found:
        console.note("No model is stored on this machine yet. `litgpt download list` shows names.")
        return
    rows = [(one.name, size(one.nbytes), one.where) for one in found]
    console.table([("NAME", "SIZE", "WHERE"), *rows])


def remove(
    model: Annotated[
        str, typer.Argument(help="Name of a model, as shown by `litgpt list`.", metavar="MODEL")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a model from this machine, after confirmation."""
    from litgpt.domain.catalogue import repository_of
    from litgpt.domain.errors import BadArgument, MissingArgument, ModelNotFound, OutOfReach

    stored = list(_stored())
    wanted = [one for one in stored if one.name in (model, repository_of(model))]
    if not wanted:
        similar = tuple(get_close_matches(model, [one.name for one in stored]))
        raise ModelNotFound(model, searched=("the models that `litgpt list` shows",), similar=similar)
    found = wanted[0]
    if found.package:
        raise BadArgument("MODEL", model, f"removed with `pip uninstall {found.package}`")
    question = f"Remove {found.name} ({size(found.nbytes)}, {found.path})?"
    if not yes:
        if not console.at_a_keyboard():
            raise MissingArgument("--yes", yes, "without a terminal, pass it to confirm the removal.")
        if not typer.confirm(question, err=True):
            raise typer.Exit(1)
    try:
        _remove(found.path)
    except OSError as error:
        raise OutOfReach(f"Removing {found.path}", f"{error.strerror or error}.") from error
    console.note(f"Removed {found.name} from {found.where}.")


def _remove(path: Path) -> None:
    """Remove a file or a folder; an interruption leaves none of it under its name."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    aside = Path(mkdtemp(prefix=".removing-", dir=path.parent))
    path.rename(aside / path.name)
    shutil.rmtree(aside)


def _stored() -> Iterator[_Stored]:
    """Yield the models, in the order in which names are looked up."""
    from litgpt.adapters.checkpoints.installed import INSTALLED_MODELS, file_of
    from litgpt.adapters.checkpoints.local import LocalStore
    from litgpt.adapters.hub.cache import Cache
    from litgpt.adapters.hub.environment import cache_of
    from litgpt.domain.errors import LitGPTError

    local = LocalStore()
    for name in local.names():
        yield _Stored(name, f"{local.root}/", local.root / name)
    for model in INSTALLED_MODELS:
        with suppress(LitGPTError):  # not installed
            yield _Stored(model.name, f"the package {model.distribution}", file_of(model), model.distribution)
    cache = Cache(cache_of(None))
    for repository in sorted(cache.repositories()):
        yield _Stored(repository, "the Hub's cache", cache.folder_of(repository))


def _as_dict(one: _Stored) -> dict[str, object]:
    return {"name": one.name, "nbytes": one.nbytes, "where": one.where, "path": str(one.path)}
