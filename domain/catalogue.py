"""Well-known repositories, by the short names that they are called by.

The list is for suggestions and for names such as `Llama-3.2-1B`. A repository that is not on it loads just as
well.
Source: the repositories' own pages on huggingface.co; the short names are LitGPT's where it has one.
"""

import json
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import attrs


@attrs.frozen
class CatalogueEntry:
    """A repository that is known to hold a model of a family that is implemented.

    Attributes:
        name: What it is called for short.
        repository: Where it is on the Hub, `org/name`.
        family: The `model_type` of its config.

    """

    name: str
    repository: str
    family: str


def repository_of(short_name: str) -> str | None:
    """Return the repository that a short name, or the last part of a known repository, stands for."""
    return _by_name().get(short_name.casefold())


def known(containing: str = "") -> tuple[CatalogueEntry, ...]:
    """Return the entries whose short name or repository contains a text, in any case, as they are listed."""
    wanted = containing.casefold()
    return tuple(
        one for one in _entries() if wanted in one.name.casefold() or wanted in one.repository.casefold()
    )


def similar(name: str, *, at_most: int = 3) -> tuple[str, ...]:
    """Return known names that a misspelt one may have meant, the likeliest first.

    Repositories are returned for a name with a slash in it, short names for one without.
    """
    spelling = {(one.repository if "/" in name else one.name).casefold(): one for one in _entries()}
    close = get_close_matches(name.casefold(), spelling, n=at_most, cutoff=0.75)
    return tuple(spelling[one].repository if "/" in name else spelling[one].name for one in close)


@cache
def _entries() -> tuple[CatalogueEntry, ...]:
    listed = json.loads(Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8"))
    return tuple(CatalogueEntry(**one) for one in listed)


@cache
def _by_name() -> dict[str, str]:
    last_parts = {one.repository.rpartition("/")[2].casefold(): one.repository for one in _entries()}
    return last_parts | {one.name.casefold(): one.repository for one in _entries()}
