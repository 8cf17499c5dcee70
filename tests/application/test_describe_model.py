import pytest

from litgpt.application.describe_model import DescribeModel
from litgpt.domain.errors import CheckpointMismatch, ModelNotFound
from litgpt.domain.reference import ModelReference
from litgpt.testing import MemoryCheckpoint, MemoryStore, MemoryTensor
from tests.contracts.distribution_strategy import CONFIG, shapes


def checkpoint() -> MemoryCheckpoint:
    weights = {name: MemoryTensor(shape, "bfloat16") for name, shape in shapes().items()}
    weights["model.norm.weight"] = MemoryTensor((16,), "float32")
    return MemoryCheckpoint(CONFIG, weights)


def test_a_model_is_described_without_reading_or_fetching_it() -> None:
    model = checkpoint()
    description = DescribeModel(MemoryStore({"tiny": model}))(ModelReference("tiny"))
    assert (model.source.was_read, model.source.fetched, model.source.closed) == ([], 0, True)
    assert description.architecture.family == "llama"
    assert [(entry.format, entry.num_tensors) for entry in description.storage] == [
        ("BF16", len(shapes()) - 1),
        ("F32", 1),
    ]
    assert description.num_parameters == sum(entry.num_parameters for entry in description.storage)
    assert description.nbytes == 2 * (description.num_parameters - 16) + 4 * 16


def test_a_description_has_the_checkpoints_notes() -> None:
    model = MemoryCheckpoint(CONFIG, checkpoint().source, notes=("it is a fake.",))
    description = DescribeModel(MemoryStore({"tiny": model}))(ModelReference("tiny"))
    assert description.notes == ("it is a fake.",)


def test_a_model_that_could_not_be_loaded_is_not_described_either() -> None:
    model = checkpoint()
    broken = MemoryCheckpoint(
        CONFIG, {name: weight for name, weight in model.source.weights.items() if "norm" not in name}
    )
    store = MemoryStore({"broken": broken})
    with pytest.raises(CheckpointMismatch):
        DescribeModel(store)(ModelReference("broken"))
    assert broken.source.closed
    with pytest.raises(ModelNotFound):
        DescribeModel(store)(ModelReference("tiny"))
