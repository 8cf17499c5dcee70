"""How GGUF tensors are laid out within Hugging Face tensors.

Each layout contains the name of a Hugging Face tensor, and yields the parts that a GGUF tensor fills. The
first `{}` in a name is the layer number; a last `{}` counts tensors within a layer. A `ValueError` means that
the shape of a tensor does not fit.

Source: `modify_tensors` of each model in llama.cpp's converter.
"""

from collections.abc import Iterator
from typing import Literal, Protocol, TypeAlias

import attrs

from litgpt.adapters.checkpoints.gguf.dequantize.dequantize import TensorChunk
from litgpt.adapters.checkpoints.gguf.dequantize.strided_view import StridedView
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor

Target: TypeAlias = tuple[str, tuple[int, ...], TensorChunk]
"""The name of a Hugging Face tensor, its shape, and a part of its data."""


class TensorLayout(Protocol):
    """The layout of a GGUF tensor."""

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        """Yield the parts of Hugging Face tensors that a stored tensor fills."""
        ...


@attrs.frozen
class Identity:
    """The tensors are identical."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - shared
        yield self.name, stored.shape, TensorChunk(stored)


@attrs.frozen
class UnstackExperts:
    """GGUF stacks tensors, such as expert weights; the last `{}` in the name is their index."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - shared
        for number in range(stored.shape[0]):
            expert = stored.select(number)
            yield _numbered(self.name, number), expert.shape, TensorChunk(expert)


@attrs.frozen
class SplitGateUp:
    """GGUF stacks the experts' fused gate and up projections."""

    names: tuple[str, str]

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - shared
        for number in range(stored.shape[0]):
            fused = stored.select(number)
            rows, remainder = divmod(fused.shape[0], 2)
            if remainder:
                raise ValueError(f"{fused.shape[0]} rows cannot be halved")
            for index, name in enumerate(self.names):
                half = fused.rows(index * rows, (index + 1) * rows)
                yield _numbered(name, number), half.shape, TensorChunk(half)


@attrs.frozen
class Unsqueeze:
    """GGUF stores a vector where Hugging Face has a matrix with one row."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - shared
        yield self.name, (1, stored.shape[-1]), TensorChunk(stored)


@attrs.frozen
class Transpose:
    """The last two dimensions are swapped."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - shared
        if len(stored.shape) < 2:  # a bias
            yield self.name, stored.shape, TensorChunk(stored)
            return
        shape = (*stored.shape[:-2], stored.shape[-1], stored.shape[-2])
        yield (
            self.name,
            shape,
            TensorChunk(stored, StridedView.full(shape).swap(-2 + len(shape), -1 + len(shape))),
        )


@attrs.frozen
class InterleaveQKV:
    """Hugging Face interleaves queries, keys and values by group; GGUF concatenates them."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        groups, size = model.num_kv_heads, model.head_dim
        queries = model.num_heads // groups * size
        grouped = StridedView.full(stored.shape).split(0, groups, queries + 2 * size)
        offset = 0
        for start, stop in ((0, queries), (queries, queries + size), (queries + size, queries + 2 * size)):
            rows = groups * (stop - start)
            part = stored.rows(offset, offset + rows)
            yield self.name, stored.shape, TensorChunk(part, grouped.slice(1, start, stop))
            offset += rows


@attrs.frozen
class SplitQKV:
    """GGUF fuses queries, keys and values, Hugging Face stores them separately."""

    names: tuple[str, str, str]

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        size, offset = model.head_dim, 0
        if stored.shape[0] != (model.num_heads + 2 * model.num_kv_heads) * size:
            raise ValueError(f"{stored.shape[0]} rows")
        for name, heads in zip(
            self.names, (model.num_heads, model.num_kv_heads, model.num_kv_heads), strict=True
        ):
            part = stored.rows(offset, offset + heads * size)
            yield name, part.shape, TensorChunk(part)
            offset += heads * size


@attrs.frozen
class Concat:
    """Hugging Face concatenates the tensor with others of the same shape along the rows.

    The rows of the parts may alternate (`interleaved`), the result may be `transposed`, and both may have a
    leading expert dimension (`stacked`).
    """

    name: str
    index: int
    num_parts: int
    interleaved: bool = False
    transposed: bool = False
    stacked: bool = False

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - shared
        axis = int(self.stacked)
        rows, columns = stored.shape[axis], stored.shape[axis + 1 :]
        joined = (self.num_parts * rows, *columns)
        shape = (*stored.shape[:axis], *(joined[::-1] if self.transposed else joined))
        view = StridedView.full(shape)
        if self.transposed and columns:
            view = view.swap(axis, axis + 1)
        if self.interleaved:
            view = view.split(axis, rows, self.num_parts).slice(axis + 1, self.index, self.index + 1)
        else:
            view = view.slice(axis, self.index * rows, (self.index + 1) * rows)
        yield self.name, shape, TensorChunk(stored, view)


@attrs.frozen
class JoinKVB:
    """Hugging Face fuses the MLA up-projections of keys and values, head by head.

    GGUF stores the key projection transposed as (heads, latent, keys), and the value projection as (heads,
    values, latent).
    """

    name: str
    makes: Literal["keys", "values"]

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        keys, values = mla_head_dims(model)
        shape = (model.num_heads * (keys + values), model.integer("attention.kv_lora_rank") or 0)
        view = StridedView.full(shape).split(0, model.num_heads, keys + values)
        start, stop = (0, keys) if self.makes == "keys" else (keys, keys + values)
        view = view.slice(1, start, stop)
        if self.makes == "keys":
            view = view.swap(1, 2)
        if view.sizes != stored.shape:
            raise ValueError(f"{stored.shape} is not {view.sizes}")
        yield self.name, shape, TensorChunk(stored, view)


def mla_head_dims(model: GgufModel) -> tuple[int, int]:
    """Return the size of a key without its RoPE part, and of a value."""
    key = model.integer("attention.key_length_mla") or model.integer("attention.key_length") or 0
    value = model.integer("attention.value_length_mla") or model.integer("attention.value_length") or 0
    return key - (model.integer("rope.dimension_count") or 0), value


def _numbered(name: str, number: int) -> str:
    prefix, _, suffix = name.rpartition("{}")
    return f"{prefix}{number}{suffix}"
