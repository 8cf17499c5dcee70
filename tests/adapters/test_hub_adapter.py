"""An adapter from a Hub: its two files, and nothing else of the repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt.adapters.checkpoints.folder import open_folder
from litgpt.adapters.checkpoints.peft_folder import read_adapter
from litgpt.adapters.checkpoints.peft_writing import write_adapter
from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import HubUnreachable, MissingFile, ModelNotFound
from litgpt.domain.lora import Adapter, Lora, Pair
from litgpt.domain.reference import ModelReference
from tests.adapters.loopback_hub import LoopbackHub

NAME = ModelReference("org/adapter")
FILES = {"adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    folder = tmp_path / "hub" / "org" / "adapter"
    pair = Pair(torch.randn(4, 6), torch.randn(8, 4), 4, 16.0)
    write_adapter(folder, Adapter(lora=Lora(rank=4), pairs={"model.layers.0.self_attn.q_proj": pair}))
    (folder / "optimizer.pt").write_bytes(b"much")
    (tmp_path / "hub" / "org" / "none").mkdir()
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def store(hub: LoopbackHub, tmp_path: Path) -> HubStore[Any]:
    return HubStore(open_folder, endpoint=hub.endpoint, cache_dir=tmp_path / "cache")


def test_its_two_files_are_downloaded_once(hub: LoopbackHub, store: HubStore[Any]) -> None:
    folder = store.adapter(NAME)
    assert read_adapter(folder).lora.rank == 4
    assert {key.removeprefix("org/adapter/") for key in hub.sent} == FILES
    asked = len(hub.requests)
    assert store.adapter(NAME) == folder
    assert len(hub.requests) == asked


def test_what_is_not_there_is_named(store: HubStore[Any]) -> None:
    with pytest.raises(ModelNotFound, match="org/nothing"):
        store.adapter(ModelReference("org/nothing"))
    with pytest.raises(MissingFile, match=r"adapter_config\.json"):
        store.adapter(ModelReference("org/none"))
    with pytest.raises(HubUnreachable):
        store.adapter(ModelReference("org/adapter", offline=True))
