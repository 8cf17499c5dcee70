"""Models that exist only in memory: fakes of the port ModelStore, without torch."""

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
    """A tensor of which only shape and dtype are known: all that a test needs which computes nothing."""

    shape: tuple[int, ...]
    dtype: DType = "float32"


@attrs.define
class MemoryCheckpoint:
    """A model in memory, and what was asked of it.

    Attributes:
        config: What `config.json` would hold.
        weights: Its tensors by Hugging Face's names: MemoryTensor, or torch's own to compute with.
        generation_config: What `generation_config.json` would hold.
        prompt_style: The name of a saved prompt style.
        notes: Sentences for the user who loads it.
        tokenizer: Where its tokenizer is.
        folder: The reported folder.
        path: The reported path.
        name: The requested name, set by MemoryStore.
        fetched: How many times `fetch` was called.
        was_read: The names of the tensors that were read, in order.
        closed: Whether it was closed.

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
        """Where it is, in words."""
        return f"the model {self.name} in memory"

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor it holds, by name."""
        return {name: _info(tensor) for name, tensor in self.weights.items()}

    def fetch(self, report: Reporter) -> None:  # noqa: ARG002 - a fake has nothing to report
        """Count that it was called."""
        self.fetched += 1

    def read(self, name: str, dtype: DType | None = None) -> Any:
        """Return a tensor.

        Raises:
            InvalidArgument: The tensor does not exist.

        """
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
        """Remember that it was called."""
        self.closed = True


@attrs.define
class MemoryStore:
    """Holds models by name, and remembers what it was asked for.

    Attributes:
        models: What it holds.
        asked: Every reference that was opened, found or not.

    """

    models: Mapping[str, MemoryCheckpoint] = attrs.field(factory=dict)
    asked: list[ModelReference] = attrs.field(factory=list, init=False)

    @property
    def location(self) -> str:
        """Where this store looks, in words."""
        return "models in memory"

    def names(self) -> Iterator[str]:
        """Yield the names it holds."""
        return iter(self.models)

    def open(self, reference: ModelReference) -> MemoryCheckpoint:
        """Return the model itself, not a copy, so that a test can ask it afterwards what was done to it.

        Raises:
            ModelNotFound: It holds none of this name.

        """
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
