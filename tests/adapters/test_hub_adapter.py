"""Tests of an adapter from a Hub: only its two files are downloaded."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from litgpt.adapters.checkpoints.chain_store import ChainStore
from litgpt.adapters.checkpoints.local_store import LocalStore
from litgpt.adapters.checkpoints.peft.adapter_folder import read_adapter
from litgpt.adapters.checkpoints.peft.lora_store import LoraStore
from litgpt.adapters.checkpoints.peft.writer import write_adapter
from litgpt.adapters.hub.store import HubStore
from litgpt.domain.errors import HubUnreachable, MissingFile, ModelNotFound
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, LoraWeights
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles
from tests.adapters.loopback_hub import LoopbackHub
from tests.adapters.tiny_models import tiny_folder

NAME = ModelReference("org/adapter")
FILES = {"adapter_config.json", "adapter_model.safetensors"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    folder = tmp_path / "hub" / "org" / "adapter"
    pair = LoraWeights(torch.randn(4, 6), torch.randn(8, 4), 4, 16.0)
    write_adapter(
        folder, LoraAdapter(config=LoraConfig(rank=4), weights={"model.layers.0.self_attn.q_proj": pair})
    )
    (folder / "optimizer.pt").write_bytes(b"much")
    (tmp_path / "hub" / "org" / "none").mkdir()
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


def test_its_two_files_are_downloaded_once(hub: LoopbackHub, store: HubStore[Any]) -> None:
    folder = store.adapter(NAME)
    assert read_adapter(folder).config.rank == 4
    assert {key.removeprefix("org/adapter/") for key in hub.sent} == FILES
    num_requests = len(hub.requests)
    assert store.adapter(NAME) == folder
    assert len(hub.requests) == num_requests


def test_a_missing_adapter_or_file_is_named(store: HubStore[Any]) -> None:
    with pytest.raises(ModelNotFound, match="org/nothing"):
        store.adapter(ModelReference("org/nothing"))
    with pytest.raises(MissingFile, match=r"adapter_config\.json"):
        store.adapter(ModelReference("org/none"))
    with pytest.raises(HubUnreachable):
        store.adapter(ModelReference("org/adapter", offline=True))


def test_a_repository_with_an_adapter_opens_as_the_model_that_it_makes_of_its_base(
    hub: LoopbackHub, store: HubStore[Any], tmp_path: Path
) -> None:
    base = tiny_folder("llama")
    folder = hub.root / "org" / "adapter"
    pair = LoraWeights(torch.randn(4, 48), torch.randn(48, 4), 4, 16.0)
    module = "model.layers.0.self_attn.q_proj"
    write_adapter(
        folder, LoraAdapter(config=LoraConfig(rank=4), weights={module: pair}, base_model=str(base))
    )
    for name in ("config.json", "tokenizer.json"):  # as the Trainer leaves them beside an adapter
        shutil.copy(base / name, folder / name)
    (folder / "training_args.bin").write_bytes(b"a pickle")
    stores = LoraStore(
        ChainStore((LocalStore(tmp_path / "none"), store)),
        tmp_path / "none",
        fetch_adapter=partial(store.adapter, with_tokenizer=True),
    )
    for offline in (None, True):
        opened = stores.open(attrs.evolve(NAME, offline=offline))
        added = opened.read(f"{module}.weight") - LocalStore().open(ModelReference(str(base))).read(
            f"{module}.weight"
        )
        assert torch.allclose(added, 4 * pair.lora_B @ pair.lora_A, atol=1e-4)
        tokenizer = opened.read_tokenizer()
        assert isinstance(tokenizer, TokenizerFiles)
        assert tokenizer.paths["tokenizer.json"].is_relative_to(tmp_path / "cache")
    with pytest.raises(MissingFile, match=r"org/none/model\.safetensors"):
        stores.open(ModelReference("org/none"))
