"""A fake ModelStore with models in memory, without torch."""

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import attrs

from litgpt.domain.errors import InvalidArgument, ModelNotFound
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles, TokenizerSource
from litgpt.domain.weights.tensor_info import DTYPE_BYTES, DType, TensorInfo

_STORAGE_FORMATS = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


@attrs.frozen
class MemoryTensor:
    """A tensor with a shape and a dtype but without values, for tests that do not compute."""

    shape: tuple[int, ...]
    dtype: DType = "float32"


@attrs.define
class MemoryCheckpoint:
    """A checkpoint in memory that records its calls.

    Attributes:
        weights: Tensors by Hugging Face's names: MemoryTensor, or torch tensors for tests that compute.
        fetched: The number of calls of `fetch`.
        was_read: The names of the tensors that were read, in order.
        closed: Whether `close` was called.
    """

    config: Mapping[str, object] = attrs.field(factory=dict)
    weights: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    generation_config: Mapping[str, object] = attrs.field(factory=dict, kw_only=True)
    prompt_style: str | None = attrs.field(default=None, kw_only=True)
    notes: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    tokenizer: TokenizerSource = attrs.field(factory=lambda: TokenizerFiles({}), kw_only=True)
    folder: Path | None = attrs.field(default=None, kw_only=True)
    path: Path | None = attrs.field(default=None, kw_only=True)
    name: str = attrs.field(default="memory", kw_only=True)
    fetched: int = attrs.field(default=0, init=False)
    was_read: list[str] = attrs.field(factory=list, init=False, repr=False)
    closed: bool = attrs.field(default=False, init=False)

    @property
    def origin(self) -> str:
        return f"the model {self.name} in memory"

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return {name: _info(tensor) for name, tensor in self.weights.items()}

    def fetch(self, report: Reporter) -> None:  # noqa: ARG002 - a fake has nothing to report
        self.fetched += 1

    def read(self, name: str, dtype: DType | None = None) -> Any:
        """Return a tensor; raise InvalidArgument if it does not exist."""
        if name not in self.weights:
            raise InvalidArgument("name", name, f"one of the tensors of {self.name}")
        self.was_read.append(name)
        tensor = self.weights[name]
        if dtype is None:
            return tensor
        if isinstance(tensor, MemoryTensor):
            return attrs.evolve(tensor, dtype=dtype)
        import torch

        return tensor.to(getattr(torch, dtype))

    def close(self) -> None:
        self.closed = True


@attrs.define
class MemoryStore:
    """A store of models by name that records its calls; `asked` has all references, found or not."""

    models: Mapping[str, MemoryCheckpoint] = attrs.field(factory=dict)
    asked: list[ModelReference] = attrs.field(factory=list, init=False)

    @property
    def location(self) -> str:
        return "models in memory"

    def names(self) -> Iterator[str]:
        return iter(self.models)

    def open(self, reference: ModelReference) -> MemoryCheckpoint:
        """Return the model itself, not a copy, so that a test can inspect the recorded calls."""
        self.asked.append(reference)
        if reference.name not in self.models:
            raise ModelNotFound(reference.name, searched=(self.location,))
        checkpoint = self.models[reference.name]
        checkpoint.name = reference.name
        return checkpoint


def _info(tensor: Any) -> TensorInfo:
    shape = tuple(tensor.shape)
    dtype = str(tensor.dtype).removeprefix("torch.")
    size = DTYPE_BYTES[dtype] if dtype in DTYPE_BYTES else tensor.element_size()
    return TensorInfo(shape, _STORAGE_FORMATS.get(dtype, dtype), prod(shape) * size)
