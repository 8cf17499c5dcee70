"""Well-known repositories, by the short names that they are called by, and how large their models are.

The list is for suggestions, for names such as `Llama-3.2-1B`, and for a model without a network: what its
`config.json` says of its structure stands here too, where it is known for certain. A repository that is not
on the list loads just as well.

`catalogue.json` has `models`, one a line, and `sizes`: a config for each size, called by the first model that
has it. A model names its `size`, and says in `but` what is different.
Source: the repositories' own pages and config files on huggingface.co; the short names are LitGPT's where it
has one.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import attrs

from litgpt.domain.errors import ModelNotFound


@attrs.frozen
class CatalogueEntry:
    """A repository that is known to hold a language model.

    Attributes:
        name: What it is called for short.
        repository: Where it is on the Hub, `org/name`.
        family: The `model_type` of its config. Whether it is implemented is another question.
        config: What its `config.json` says of its structure; None if that is not known here.
        former_repository: Where it was on the Hub before, if it has moved.

    """

    name: str
    repository: str
    family: str
    config: Mapping[str, object] | None = attrs.field(default=None, repr=False)
    former_repository: str | None = None


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry of a short name, a repository or the last part of one, in any case."""
    return _by_name().get(name.casefold())


def config_for(name: str) -> Mapping[str, object]:
    """Return the sizes of a well-known model as a config, without asking anybody.

    Raises:
        ModelNotFound: It is not in the catalogue, or without sizes.

    """
    entry = find_entry(name)
    if entry is None or entry.config is None:
        raise ModelNotFound(name, searched=("the list of well-known models",), similar=suggest(name))
    return entry.config


def repository_for(short_name: str) -> str | None:
    """Return the repository that a short name, or the last part of a known repository, stands for."""
    found = None if "/" in short_name else find_entry(short_name)
    return None if found is None else found.repository


def search(containing: str = "") -> tuple[CatalogueEntry, ...]:
    """Return the entries whose short name or repository contains a text, in any case, as they are listed."""
    wanted = containing.casefold()
    return tuple(
        one for one in _entries() if wanted in one.name.casefold() or wanted in one.repository.casefold()
    )


def suggest(name: str, *, limit: int = 3) -> tuple[str, ...]:
    """Return known names that a misspelt one may have meant, the likeliest first.

    Repositories are returned for a name with a slash in it, short names for one without.
    """
    spelling = {(one.repository if "/" in name else one.name).casefold(): one for one in _entries()}
    close = get_close_matches(name.casefold(), spelling, n=limit, cutoff=0.75)
    return tuple(spelling[one].repository if "/" in name else spelling[one].name for one in close)


@cache
def _entries() -> tuple[CatalogueEntry, ...]:
    listed = json.loads(Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8"))
    return tuple(_entry(listed["sizes"], **one) for one in listed["models"])


def _entry(
    sizes: Mapping[str, Mapping[str, object]],
    *,
    size: str | None = None,
    overrides: Mapping[str, object] | None = None,
    **facts: str,
) -> CatalogueEntry:
    config = None if size is None else {**sizes[size], **(overrides or {})}
    return CatalogueEntry(**facts, config=config)


@cache
def _by_name() -> dict[str, CatalogueEntry]:
    return {name.casefold(): entry for entry in _entries() for name in _names(entry)}


def _names(entry: CatalogueEntry) -> Iterator[str]:
    yield entry.name
    for repository in (entry.repository, entry.former_repository):
        if repository is not None:
            yield repository
            yield repository.rpartition("/")[2]
