"""A Hub on loopback, and a store that reads from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.hub.store import HubStore
from tests.adapters import hub_repositories as repositories
from tests.adapters.loopback_hub import LONG, LoopbackHub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    repositories.one_file(tmp_path / "hub" / "org" / "tiny")
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def store(hub: LoopbackHub, tmp_path: Path) -> HubStore[Any]:
    return HubStore(open_hf_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache", timeout=LONG)
