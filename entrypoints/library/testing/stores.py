"""A fake ModelStore with models in memory, without torch."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import attrs

from litgpt.domain.errors import ModelNotFound
from litgpt.domain.ports import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DTYPE_BYTES, STORAGE_FORMATS, DType, TensorInfo


@attrs.frozen
class MemoryTensor:
    """A tensor with a shape and a dtype but without values, for tests that do not compute."""

    shape: tuple[int, ...]
    dtype: DType = "float32"


@attrs.define
class MemoryTensors:
    """The tensors of a model in memory, with a record of the calls.

    Attributes:
        weights: Tensors by Hugging Face's names: MemoryTensor, or torch tensors for tests that compute.
        fetched: The number of calls of `fetch`.
        was_read: The names of the tensors that were read, in order.
        closed: Whether `close` was called.
    """

    weights: Mapping[str, Any] = attrs.field(repr=False)
    fetched: int = attrs.field(default=0, init=False)
    was_read: list[str] = attrs.field(factory=list, init=False, repr=False)
    closed: bool = attrs.field(default=False, init=False)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return {name: _info(tensor) for name, tensor in self.weights.items()}

    def fetch(self, report: Reporter) -> None:  # noqa: ARG002 - a fake has nothing to report
        self.fetched += 1

    def read(self, name: str, dtype: DType | None = None) -> Any:
        self.was_read.append(name)
        tensor = self.weights[name]
        if dtype is None:
            return tensor
        if isinstance(tensor, MemoryTensor):
            return attrs.evolve(tensor, dtype=dtype)
        import torch

        return tensor.to(getattr(torch, dtype))

    def raw(self, name: str) -> RawTensor | None:  # noqa: ARG002 - no tensor is in a file
        return None

    def close(self) -> None:
        self.closed = True


def _memory_tensors(weights: Mapping[str, Any] | MemoryTensors) -> MemoryTensors:
    return weights if isinstance(weights, MemoryTensors) else MemoryTensors(weights)


@attrs.frozen
class MemoryCheckpoint(Checkpoint[Any]):
    """A checkpoint in memory.

    Attributes:
        config: The content of `config.json`.
        source: The argument `weights`: tensors by Hugging Face's names, or `MemoryTensors`.
    """

    config: Mapping[str, object] = attrs.field(factory=dict)
    source: MemoryTensors = attrs.field(
        default=attrs.Factory(lambda: MemoryTensors({})),
        alias="weights",
        converter=_memory_tensors,
        repr=False,
    )
    name: str = attrs.field(default="memory", kw_only=True)
    origin: str = attrs.field(kw_only=True)

    @origin.default
    def _origin(self) -> str:
        return f"the model {self.name} in memory"


@attrs.define
class MemoryStore:
    """A store of models by name; `references` lists the references that were opened, found or not."""

    models: Mapping[str, MemoryCheckpoint] = attrs.field(factory=dict)
    references: list[ModelReference] = attrs.field(factory=list, init=False)

    @property
    def location(self) -> str:
        return "models in memory"

    def names(self) -> Iterator[str]:
        return iter(self.models)

    def open(self, reference: ModelReference) -> MemoryCheckpoint:
        """Return the model under the requested name. Its `source` records the calls."""
        self.references.append(reference)
        if reference.name not in self.models:
            raise ModelNotFound(reference.name, searched=(self.location,))
        name = reference.name
        return attrs.evolve(self.models[name], name=name, origin=f"the model {name} in memory")


def _info(tensor: Any) -> TensorInfo:
    shape = tuple(tensor.shape)
    dtype = str(tensor.dtype).removeprefix("torch.")
    size = DTYPE_BYTES[dtype] if dtype in DTYPE_BYTES else tensor.element_size()
    return TensorInfo(shape, STORAGE_FORMATS.get(dtype, dtype), prod(shape) * size)
