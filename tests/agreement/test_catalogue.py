"""Tests of the catalogue: its settings have the same meaning in transformers."""

import pytest
from transformers import AutoConfig

from litgpt.domain.catalogue import CatalogueEntry, search
from litgpt.domain.families import FAMILIES, parse_config


def entries() -> list[CatalogueEntry]:
    """Return one entry per size of each implemented family."""
    sizes = {
        str(sorted(entry.config.items())): entry
        for entry in search()
        if entry.config and entry.family in FAMILIES
    }
    return list(sizes.values())


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_config_defaults_equal_transformers(entry: CatalogueEntry) -> None:
    assert entry.config is not None
    config = {name: value for name, value in entry.config.items() if name != "model_type"}
    filled = AutoConfig.for_model(entry.family, **config).to_dict()
    assert parse_config(entry.name, filled) == parse_config(entry.name, entry.config)
