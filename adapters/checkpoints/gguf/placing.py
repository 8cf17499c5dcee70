"""How tensors of a GGUF file lie in those of Hugging Face, where they are not simply the same.

Each way is a value with the name of a Hugging Face tensor, and yields which parts of which tensors a GGUF
tensor fills. In a name, `{}` is the number of a layer and stays; where there are several such tensors in a
layer, a last `{}` is theirs. A `ValueError` says that a tensor's shape does not fit.

Source: `modify_tensors` of each model in llama.cpp's converter.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.adapters.checkpoints.gguf.delta import Channels, Columns, Qkv, Qkvz, Tiled
from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.adapters.checkpoints.gguf.reading import Part
from litgpt.adapters.checkpoints.gguf.source import Source
from litgpt.adapters.checkpoints.gguf.views import View

Fill: TypeAlias = tuple[str, tuple[int, ...], Part]
"""The name of a Hugging Face tensor, its shape, and a part of it."""


@attrs.frozen
class Same:
    """The tensor is as it is."""

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:  # noqa: ARG002 - as the others
        """Yield the one part."""
        yield self.name, stored.shape, Part(stored)


@attrs.frozen
class Each:
    """GGUF stacked tensors, such as those of experts: the last `{}` in the name counts them."""

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:  # noqa: ARG002 - as the others
        """Yield each of them."""
        for number in range(stored.shape[0]):
            one = stored.at(number)
            yield _numbered(self.name, number), one.shape, Part(one)


@attrs.frozen
class Halves:
    """GGUF stacked, for each expert, what it joined of two matrices, one behind the other."""

    names: tuple[str, str]

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:  # noqa: ARG002 - as the others
        """Yield both of each expert."""
        for number in range(stored.shape[0]):
            both = stored.at(number)
            middle, rest = divmod(both.shape[0], 2)
            if rest:
                raise ValueError(f"{both.shape[0]} rows have no halves")
            for at, name in enumerate(self.names):
                half = both.rows(at * middle, (at + 1) * middle)
                yield _numbered(name, number), half.shape, Part(half)


@attrs.frozen
class Row:
    """GGUF has a vector where Hugging Face has a matrix of one row."""

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:  # noqa: ARG002 - as the others
        """Yield the one part."""
        yield self.name, (1, stored.shape[-1]), Part(stored)


@attrs.frozen
class Turned:
    """Rows and columns are exchanged, in each of what is stacked."""

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:  # noqa: ARG002 - as the others
        """Yield the one part."""
        if len(stored.shape) < 2:  # a bias has none to exchange
            yield self.name, stored.shape, Part(stored)
            return
        shape = (*stored.shape[:-2], stored.shape[-1], stored.shape[-2])
        yield self.name, shape, Part(stored, View.of(shape).swap(-2 + len(shape), -1 + len(shape)))


@attrs.frozen
class Dealt:
    """GGUF has queries, keys and values one after another, Hugging Face group by group.

    A group has the queries of its heads, then its keys, then its values.
    """

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:
        """Yield the three parts."""
        groups, size = source.groups, source.head_size
        queries = source.heads // groups * size
        dealt = View.of(stored.shape).split(0, groups, queries + 2 * size)
        reached = 0
        for start, stop in ((0, queries), (queries, queries + size), (queries + size, queries + 2 * size)):
            rows = groups * (stop - start)
            part = stored.rows(reached, reached + rows)
            yield self.name, stored.shape, Part(part, dealt.cut(1, start, stop))
            reached += rows


@attrs.frozen
class Apart:
    """GGUF joined queries, keys and values, which Hugging Face has apart."""

    names: tuple[str, str, str]

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:
        """Yield one part of each."""
        size, reached = source.head_size, 0
        if stored.shape[0] != (source.heads + 2 * source.groups) * size:
            raise ValueError(f"{stored.shape[0]} rows")
        for name, heads in zip(self.names, (source.heads, source.groups, source.groups), strict=True):
            part = stored.rows(reached, reached + heads * size)
            yield name, part.shape, Part(part)
            reached += heads * size


@attrs.frozen
class Joined:
    """Hugging Face joined it with others of the same shape, the rows of all one after another.

    Attributes:
        name: What they are joined to.
        number: Which of them it is, from 0.
        of: How many there are.
        alternating: Whether they take turns row by row instead.
        turned: Whether rows and columns are exchanged in what they are joined to.
        stacked: Whether experts are stacked in both.

    """

    name: str
    number: int
    of: int
    alternating: bool = False
    turned: bool = False
    stacked: bool = False

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:  # noqa: ARG002 - as the others
        """Yield the one part."""
        axis = int(self.stacked)
        rows, columns = stored.shape[axis], stored.shape[axis + 1 :]
        joined = (self.of * rows, *columns)
        shape = (*stored.shape[:axis], *(joined[::-1] if self.turned else joined))
        view = View.of(shape)
        if self.turned and columns:
            view = view.swap(axis, axis + 1)
        if self.alternating:
            view = view.split(axis, rows, self.of).cut(axis + 1, self.number, self.number + 1)
        else:
            view = view.cut(axis, self.number * rows, (self.number + 1) * rows)
        yield self.name, shape, Part(stored, view)


@attrs.frozen
class Latent:
    """Hugging Face joined, head by head, what makes keys and what makes values of a latent vector.

    GGUF has the former (heads, latent, keys), that is, turned, and the latter (heads, values, latent).
    """

    name: str
    makes: Literal["keys", "values"]

    def fills(self, stored: StoredTensor, source: Source) -> Iterator[Fill]:
        """Yield one of the two parts."""
        keys, values = latent_sizes(source)
        shape = (source.heads * (keys + values), source.integer("attention.kv_lora_rank") or 0)
        view = View.of(shape).split(0, source.heads, keys + values)
        start, stop = (0, keys) if self.makes == "keys" else (keys, keys + values)
        view = view.cut(1, start, stop)
        if self.makes == "keys":
            view = view.swap(1, 2)
        if view.sizes != stored.shape:
            raise ValueError(f"{stored.shape} is not {view.sizes}")
        yield self.name, shape, Part(stored, view)


def latent_sizes(source: Source) -> tuple[int, int]:
    """Return how many numbers of a key come from the latent vector, and how many a value has."""
    key = source.integer("attention.key_length_mla") or source.integer("attention.key_length") or 0
    value = source.integer("attention.value_length_mla") or source.integer("attention.value_length") or 0
    return key - (source.integer("rope.dimension_count") or 0), value


Placing: TypeAlias = (
    Same
    | Each
    | Halves
    | Row
    | Turned
    | Dealt
    | Apart
    | Joined
    | Latent
    | Tiled
    | Columns
    | Qkv
    | Channels
    | Qkvz
)


def _numbered(name: str, number: int) -> str:
    before, _, behind = name.rpartition("{}")
    return f"{before}{number}{behind}"
