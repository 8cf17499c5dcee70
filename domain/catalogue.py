"""Well-known repositories with their short names and configs.

They are used to resolve and suggest names such as `Llama-3.2-1B`, and for sizes of models without network
access. Other repositories can be loaded as well.

`catalogue.json` has `models`, one per line, and `sizes`: a config for each size, named after the first model
that has it. A model refers to its `size`, with differences in `overrides`.
Source: the pages and config files of the repositories on huggingface.co, and LitGPT's short names.
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
    """A well-known repository with a language model.

    Attributes:
        family: The `model_type` of its config; the family may not be implemented.
        config: The architecture settings of its `config.json`; None if unknown.
        former_repository: The former name of the repository, if it was moved.
    """

    name: str
    repository: str
    family: str
    config: Mapping[str, object] | None = attrs.field(default=None, repr=False)
    former_repository: str | None = None


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry of a short name, a repository or its last part; case is ignored."""
    return _by_name().get(name.casefold())


def config_for(name: str) -> Mapping[str, object]:
    """Return the config of a well-known model from the catalogue; raise ModelNotFound if it is unknown."""
    entry = find_entry(name)
    if entry is None or entry.config is None:
        raise ModelNotFound(name, searched=("the list of well-known models",), similar=suggest(name))
    return entry.config


def repository_for(short_name: str) -> str | None:
    """Return the repository of a short name, or of the last part of a known repository."""
    entry = None if "/" in short_name else find_entry(short_name)
    return None if entry is None else entry.repository


def search(containing: str = "") -> tuple[CatalogueEntry, ...]:
    """Return the entries whose short name or repository contains a text; case is ignored."""
    text = containing.casefold()
    return tuple(
        entry for entry in _entries() if text in entry.name.casefold() or text in entry.repository.casefold()
    )


def suggest(name: str, *, limit: int = 3) -> tuple[str, ...]:
    """Return known names that are similar to `name`: repositories if it has a slash, else short names."""
    names = [entry.repository if "/" in name else entry.name for entry in _entries()]
    spelling = {known.casefold(): known for known in names}
    return tuple(spelling[x] for x in get_close_matches(name.casefold(), spelling, n=limit, cutoff=0.75))


@cache
def _entries() -> tuple[CatalogueEntry, ...]:
    listed = json.loads(Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8"))
    return tuple(_entry(listed["sizes"], **model) for model in listed["models"])


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
