"""How tensors of a GGUF file lie in those of Hugging Face, where they are not simply the same.

Each way is a value with the name of a Hugging Face tensor, and yields which parts of which tensors a GGUF
tensor fills. In a name, `{}` is the number of a layer and stays; where there are several such tensors in a
layer, a last `{}` is theirs. A `ValueError` says that a tensor's shape does not fit.

Source: `modify_tensors` of each model in llama.cpp's converter.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.adapters.checkpoints.gguf.dequantize.dequantize import TensorChunk
from litgpt.adapters.checkpoints.gguf.dequantize.strided_view import StridedView
from litgpt.adapters.checkpoints.gguf.gated_delta_layout import (
    ConvChannels,
    InterleaveQKVZ,
    QKVRows,
    TiledColumns,
    TiledRows,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor

Target: TypeAlias = tuple[str, tuple[int, ...], TensorChunk]
"""The name of a Hugging Face tensor, its shape, and a part of it."""


@attrs.frozen
class Identity:
    """The tensor is as it is."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - as the others
        """Yield the one part."""
        yield self.name, stored.shape, TensorChunk(stored)


@attrs.frozen
class UnstackExperts:
    """GGUF stacked tensors, such as those of experts: the last `{}` in the name counts them."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - as the others
        """Yield each of them."""
        for number in range(stored.shape[0]):
            one = stored.select(number)
            yield _numbered(self.name, number), one.shape, TensorChunk(one)


@attrs.frozen
class SplitGateUp:
    """GGUF stacked, for each expert, what it joined of two matrices, one behind the other."""

    names: tuple[str, str]

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - as the others
        """Yield both of each expert."""
        for number in range(stored.shape[0]):
            both = stored.select(number)
            middle, rest = divmod(both.shape[0], 2)
            if rest:
                raise ValueError(f"{both.shape[0]} rows have no halves")
            for at, name in enumerate(self.names):
                half = both.rows(at * middle, (at + 1) * middle)
                yield _numbered(name, number), half.shape, TensorChunk(half)


@attrs.frozen
class Unsqueeze:
    """GGUF has a vector where Hugging Face has a matrix of one row."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - as the others
        """Yield the one part."""
        yield self.name, (1, stored.shape[-1]), TensorChunk(stored)


@attrs.frozen
class Transpose:
    """Rows and columns are exchanged, in each of what is stacked."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - as the others
        """Yield the one part."""
        if len(stored.shape) < 2:  # a bias has none to exchange
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
    """GGUF has queries, keys and values one after another, Hugging Face group by group.

    A group has the queries of its heads, then its keys, then its values.
    """

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        """Yield the three parts."""
        groups, size = model.num_kv_heads, model.head_dim
        queries = model.num_heads // groups * size
        dealt = StridedView.full(stored.shape).split(0, groups, queries + 2 * size)
        reached = 0
        for start, stop in ((0, queries), (queries, queries + size), (queries + size, queries + 2 * size)):
            rows = groups * (stop - start)
            part = stored.rows(reached, reached + rows)
            yield self.name, stored.shape, TensorChunk(part, dealt.slice(1, start, stop))
            reached += rows


@attrs.frozen
class SplitQKV:
    """GGUF joined queries, keys and values, which Hugging Face has apart."""

    names: tuple[str, str, str]

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        """Yield one part of each."""
        size, reached = model.head_dim, 0
        if stored.shape[0] != (model.num_heads + 2 * model.num_kv_heads) * size:
            raise ValueError(f"{stored.shape[0]} rows")
        for name, heads in zip(
            self.names, (model.num_heads, model.num_kv_heads, model.num_kv_heads), strict=True
        ):
            part = stored.rows(reached, reached + heads * size)
            yield name, part.shape, TensorChunk(part)
            reached += heads * size


@attrs.frozen
class Concat:
    """Hugging Face joined it with others of the same shape, the rows of all one after another.

    Attributes:
        name: What they are joined to.
        index: Which of them it is, from 0.
        num_parts: How many there are.
        interleaved: Whether they take turns row by row instead.
        transposed: Whether rows and columns are exchanged in what they are joined to.
        stacked: Whether experts are stacked in both.

    """

    name: str
    index: int
    num_parts: int
    interleaved: bool = False
    transposed: bool = False
    stacked: bool = False

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:  # noqa: ARG002 - as the others
        """Yield the one part."""
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
    """Hugging Face joined, head by head, what makes keys and what makes values of a latent vector.

    GGUF has the former (heads, latent, keys), that is, turned, and the latter (heads, values, latent).
    """

    name: str
    makes: Literal["keys", "values"]

    def targets(self, stored: GgufTensor, model: GgufModel) -> Iterator[Target]:
        """Yield one of the two parts."""
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
    """Return how many numbers of a key come from the latent vector, and how many a value has."""
    key = model.integer("attention.key_length_mla") or model.integer("attention.key_length") or 0
    value = model.integer("attention.value_length_mla") or model.integer("attention.value_length") or 0
    return key - (model.integer("rope.dimension_count") or 0), value


TensorLayout: TypeAlias = (
    Identity
    | UnstackExperts
    | SplitGateUp
    | Unsqueeze
    | Transpose
    | InterleaveQKV
    | SplitQKV
    | Concat
    | JoinKVB
    | TiledRows
    | TiledColumns
    | QKVRows
    | ConvChannels
    | InterleaveQKVZ
)


def _numbered(name: str, number: int) -> str:
    before, _, behind = name.rpartition("{}")
    return f"{before}{number}{behind}"
