import pytest

from litgpt.domain.reference import ModelReference
from litgpt.testing import MemoryCheckpoint, MemoryStore, MemoryTensor
from tests.contracts.model_store import ModelStoreContract


def tiny() -> MemoryCheckpoint:
    weights = {"model.norm.weight": MemoryTensor((4,)), "lm_head.weight": MemoryTensor((8, 4), "bfloat16")}
    return MemoryCheckpoint({"model_type": "llama"}, weights)


class TestMemoryStore(ModelStoreContract):
    has_stored_bytes = False

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore({"tiny": tiny()})


def test_the_fake_remembers_what_was_done_to_it() -> None:
    store = MemoryStore({"tiny": tiny()})
    checkpoint = store.open(ModelReference("tiny", revision="v1"))
    checkpoint.read("lm_head.weight")
    checkpoint.close()
    assert store.references == [ModelReference("tiny", revision="v1")]
    assert store.models["tiny"].source.was_read == ["lm_head.weight"]
    assert store.models["tiny"].source.closed


def test_the_fake_holds_torch_tensors_too() -> None:
    torch = pytest.importorskip("torch")
    checkpoint = MemoryCheckpoint({}, {"w": torch.ones(2, 3)})
    assert checkpoint.tensors["w"].shape == (2, 3)
    assert checkpoint.tensors["w"].nbytes == 24
    assert checkpoint.read("w", "bfloat16").dtype == torch.bfloat16
