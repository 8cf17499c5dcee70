"""`litgpt download`: models for later, and the names of those that are well known."""

from typing import Annotated

import typer

from litgpt.cli import console, options
from litgpt.cli.loading import Work


def download(
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPO", help="org/name or a well-known short name, or: list", show_default=False
        ),
    ],
    containing: Annotated[
        str,
        typer.Argument(metavar="FILTER", help="With list: only names that contain this.", show_default=False),
    ] = "",
    *,
    revision: options.Revision = None,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
) -> None:
    """Download a model, or list well-known ones.

    The files go where every program that uses the Hugging Face Hub finds them (HF_HOME, HF_HUB_CACHE), and
    are not copied or converted.
    """
    if repository == "list":
        _list(containing)
        return
    if containing:
        raise typer.BadParameter("only `litgpt download list` takes one.", param_hint="FILTER")
    from litgpt.application.downloading import DownloadModel
    from litgpt.container import container
    from litgpt.domain.reference import ModelReference

    reference = ModelReference(repository, revision, token=access_token)
    with Work(f"Looking for {reference} …", quiet=quiet) as work:
        found = DownloadModel(container.store())(reference, work.report)
    console.show(str(found.folder or found.origin))


def _list(containing: str) -> None:
    from litgpt.adapters.checkpoints.installed import INSTALLED_MODELS
    from litgpt.domain.catalogue import known
    from litgpt.domain.families import FAMILIES

    packaged = [one for one in INSTALLED_MODELS if containing.casefold() in one.name.casefold()]
    listed = known(containing)
    rows = [(one.name, f"in the package {one.distribution}", "") for one in packaged]
    rows += [(one.name, one.repository, one.family) for one in listed]
    if rows:
        console.table([("NAME", "REPOSITORY", "FAMILY"), *rows])
    else:
        console.note(f"No well-known name contains {containing!r}.")
    console.note(f"Any other repository of these families works too: {', '.join(sorted(FAMILIES))}.")
