from collections.abc import Iterable
from operator import eq
from pathlib import Path
from typing import Any

import attrs
import pytest

from litgpt.application.convert_model import ConvertModel
from litgpt.application.files.overwrite_guard import OverwriteGuard
from litgpt.application.load_model import LoadModel
from litgpt.application.place_model import PlaceModel
from litgpt.application.save_model import SaveModel
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.ports import ModelToSave
from litgpt.domain.progress import Reporter, null_reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.weights.tensor_info import DType
from litgpt.testing import (
    MemoryCheckpoint,
    MemoryStore,
    MemoryStrategy,
    MemoryTensor,
    open_byte_tokenizer,
)
from tests.contracts.distribution_strategy import CONFIG, shapes

OUT = Path("out")


@attrs.define
class Written:
    """A writer that records its input, or raises."""

    models: list[ModelToSave[Any]] = attrs.field(factory=list)
    full: bool = False

    def __call__(self, folder: Path, model: ModelToSave[Any], report: Reporter) -> None:  # noqa: ARG002
        if self.full:
            raise UnsupportedOperation(f"Saving to {folder}", "the disk is full.")
        self.models.append(model)


def checkpoint(*dtypes: DType) -> MemoryCheckpoint:
    """Return a model whose tensors have these dtypes in turn, with a prompt style."""
    tensors = {
        name: MemoryTensor(shape, dtypes[at % len(dtypes)])
        for at, (name, shape) in enumerate(shapes().items())
    }
    return MemoryCheckpoint(
        {**CONFIG, "torch_dtype": "x", "auto_map": {"AutoModel": "remote.py"}},
        tensors,
        prompt_style="Alpaca",
        generation_config={"eos_token_id": 3},
    )


def _tokenizer_files(source: object, *, name: str) -> dict[str, bytes]:  # noqa: ARG001
    return {"tokenizer.json": name.encode()}


def converter(model: MemoryCheckpoint, write: Written) -> ConvertModel[Any]:
    return ConvertModel(
        LoadModel(MemoryStore({"tiny": model}), open_byte_tokenizer),
        PlaceModel(MemoryStrategy(), eq),
        SaveModel(_tokenizer_files, write, OverwriteGuard(lambda _: None)),
    )


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["float16"], "16-true"),
        (["float32"], "32-true"),
        (["bfloat16"] * 9 + ["float32"], "bf16-true"),
    ],
)
def test_a_model_is_saved_in_its_most_frequent_dtype(dtypes: Iterable[DType], expected: str) -> None:
    assert converter(checkpoint(*dtypes), Written())(ModelReference("tiny"), OUT, null_reporter) == expected


def test_a_requested_precision_is_used() -> None:
    convert = converter(checkpoint("float16"), Written())
    assert convert(ModelReference("tiny"), OUT, null_reporter, precision="32-true") == "32-true"


def test_all_that_belongs_to_a_model_goes_with_it_and_what_belongs_to_the_file_does_not() -> None:
    write = Written()
    converter(checkpoint("float32"), write)(ModelReference("tiny"), OUT, null_reporter)
    (model,) = write.models
    assert model.config == CONFIG | {"tie_word_embeddings": False}
    assert model.generation_config == {"eos_token_id": 3}
    assert model.prompt_style == "Alpaca"
    assert model.tokenizer == {"tokenizer.json": b"tiny"}
    assert {name: info.shape for name, info in model.weights.tensors.items()} == shapes()


def test_the_file_is_closed_also_when_writing_fails() -> None:
    model = checkpoint("float32")
    with pytest.raises(UnsupportedOperation):
        converter(model, Written(full=True))(ModelReference("tiny"), OUT, null_reporter)
    assert model.source.closed
