"""`litgpt download`: download models and list known model names."""

from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from litgpt.cli import console, options
from litgpt.cli.model_loading import StatusLine

if TYPE_CHECKING:
    from litgpt.domain.catalogue import CatalogueEntry
    from litgpt.domain.model import Architecture


def download(
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPO",
            help="Hub repository (org/name) or short name; `list` lists known models.",
            show_default=False,
        ),
    ],
    containing: Annotated[
        str,
        typer.Argument(
            metavar="FILTER", help="With `list`: only names that contain this.", show_default=False
        ),
    ] = "",
    *,
    revision: options.Revision = None,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
) -> None:
    """Download a model from the Hugging Face Hub, or list known models.

    Files are stored in the Hugging Face cache (HF_HOME, HF_HUB_CACHE), without a conversion.
    """
    if repository == "list":
        _list(containing)
        return
    if containing:
        raise typer.BadParameter("only `litgpt download list` supports a filter.", param_hint="FILTER")
    from litgpt.application.download_model import DownloadModel
    from litgpt.container import container
    from litgpt.domain.reference import ModelReference

    reference = ModelReference(repository, revision, token=access_token)
    with StatusLine(f"Looking for {reference} …", quiet=quiet) as work:
        model = DownloadModel(container.store())(reference, work.report)
    console.show(str(model.folder or model.origin))


def _list(containing: str) -> None:
    from litgpt.adapters.checkpoints.installed_store import INSTALLED_MODELS
    from litgpt.domain.catalogue import search
    from litgpt.domain.families import FAMILIES

    rows = [
        (model.name, f"in the package {model.distribution}", "", "")
        for model in INSTALLED_MODELS
        if containing.casefold() in model.name.casefold()
    ]
    rows += [
        (entry.name, entry.repository, _parameters(entry), entry.family)
        for entry in search(containing)
        if entry.family in FAMILIES
    ]
    if rows:
        console.table([("NAME", "REPOSITORY", "PARAMETERS", "FAMILY"), *rows])
    else:
        console.note(f"No known model name contains {containing!r}.")
    console.note(
        f"Any other Hub repository of these model families works as well: {', '.join(sorted(FAMILIES))}."
    )


def _parameters(entry: "CatalogueEntry") -> str:
    """Return the rounded parameter count of a model, such as `162M` or `1.2B`; empty if unknown."""
    import attrs

    from litgpt.domain.families import parse_config

    if entry.config is None:
        return ""
    # the context length does not affect the count: removing it raises the hit rate of the cache
    count = _count(attrs.evolve(parse_config(entry.name, entry.config), context_length=1))
    for unit, worth in (("B", 10**9), ("M", 10**6)):
        if count >= worth:
            return f"{count / worth:.{1 if count < 100 * worth and unit == 'B' else 0}f}{unit}"
    return str(count)


@cache
def _count(architecture: "Architecture") -> int:
    from litgpt.domain.memory.estimate import parameter_count

    return parameter_count(architecture)
