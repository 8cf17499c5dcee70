"""Tests of the bytes that a token reads, and of the speed at which memory provides them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest

from litgpt import LLM
from litgpt.adapters.native import read_bandwidth
from litgpt.adapters.native.library import check, load_library
from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.placed_model import NativePlacedModel
from litgpt.domain.errors import UnsupportedOperation
from tests.adapters.tiny_models import tiny_folder


@contextmanager
def native_model(family: str, *, tied: bool | None = None) -> Iterator[NativeModel]:
    with LLM.load(tiny_folder(family, tied=tied), distribute=None, quiet=True) as llm:
        llm.distribute(engine="native", precision="32-true")
        model = cast("NativePlacedModel", llm._placed).model
        assert model is not None
        yield model


def matrix_sizes(model: NativeModel) -> dict[str, int]:
    """Return the bytes of the matrices, which are padded to whole tiles, by name."""
    return {name: matrix.data.nbytes for name, matrix in model.weights.items()}


def test_an_embedding_is_counted_only_if_it_is_the_head() -> None:
    with native_model("llama", tied=False) as model:
        sizes = matrix_sizes(model)
        assert model.bytes_per_token == model.weight_bytes - sizes["transformer.wte.weight"]
    with native_model("llama", tied=True) as model:
        assert "lm_head.weight" not in model.weights
        assert model.bytes_per_token == model.weight_bytes


def test_experts_are_counted_as_they_are_selected() -> None:
    with native_model("mixtral", tied=True) as model:
        mlp = model.architecture.layers[0].mlp
        assert 0 < mlp.num_experts_per_token < mlp.num_experts
        experts = sum(size for name, size in matrix_sizes(model).items() if ".experts." in name)
        read = experts * mlp.num_experts_per_token / mlp.num_experts
        assert experts > 0
        assert model.bytes_per_token == model.weight_bytes - experts + round(read)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_bandwidth_is_measured_with_each_number_of_threads(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_bandwidth, "SIZE", 1 << 20)
    library = load_library()
    before = library.litgpt_threads()
    try:
        assert library.litgpt_set_threads(threads) == 0
        assert 1e6 < read_bandwidth.read_bandwidth() < 1e14
    finally:
        library.litgpt_set_threads(before)


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, -8), (1, 8)])
def test_memory_that_cannot_be_read_is_an_error(offset: int, size: int) -> None:
    memory = np.zeros(16, np.uint64)
    with pytest.raises(UnsupportedOperation, match="not aligned, or empty"):
        check(load_library().litgpt_read_memory(memory.ctypes.data + offset, size), "Reading memory")


def test_the_decode_limit_is_the_bandwidth_over_the_bytes_of_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litgpt.adapters.native.generator.read_bandwidth", lambda: 1e9)
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as llm:
        llm.distribute(engine="native", precision="32-true")
        generator: Any = llm._generator()
        model = cast("NativePlacedModel", llm._placed).model
        assert model is not None
        assert generator.max_decode_speed() == 1e9 / model.bytes_per_token
