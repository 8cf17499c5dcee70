"""Layouts of the tensors of gated delta nets.

Each key head (group) has several value heads. Hugging Face orders value heads by group; for qwen35, GGUF
stores the first value head of each group, then the second of each, and so on.

Source: `modify_tensors` of the Qwen models in llama.cpp's converter.
"""

from collections.abc import Iterator
from itertools import pairwise

import attrs

from litgpt.adapters.checkpoints.gguf.dequantize.dequantize import TensorChunk
from litgpt.adapters.checkpoints.gguf.dequantize.strided_view import StridedView
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.reader.header import GgufTensor


@attrs.frozen
class GatedDeltaSizes:
    """Head counts and sizes of a gated delta net."""

    num_k_heads: int
    v_heads_per_k_head: int
    k_head_dim: int
    v_head_dim: int

    @classmethod
    def from_model(cls, model: GgufModel) -> "GatedDeltaSizes":
        groups, heads, key, inner = (
            model.integer(f"ssm.{name}") or 0
            for name in ("group_count", "time_step_rank", "state_size", "inner_size")
        )
        if not groups or not heads or heads % groups or inner % heads:
            raise ValueError(f"{heads} heads of {inner} values in {groups} groups")
        return cls(groups, heads // groups, key, inner // heads)

    def tiled(self, view: StridedView, axis: int) -> StridedView:
        """Return a view in GGUF's order of value heads along a dimension."""
        size = view.sizes[axis] // (self.num_k_heads * self.v_heads_per_k_head)
        return view.split(axis, self.num_k_heads, self.v_heads_per_k_head, size).swap(axis, axis + 1)


Targets = Iterator[tuple[str, tuple[int, ...], TensorChunk]]


@attrs.frozen
class TiledRows:
    """Rows of value heads in GGUF's order."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        yield (
            self.name,
            stored.shape,
            TensorChunk(stored, GatedDeltaSizes.from_model(model).tiled(StridedView.full(stored.shape), 0)),
        )


@attrs.frozen
class TiledColumns:
    """Columns of value heads in GGUF's order."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        yield (
            self.name,
            stored.shape,
            TensorChunk(stored, GatedDeltaSizes.from_model(model).tiled(StridedView.full(stored.shape), 1)),
        )


@attrs.frozen
class QKVRows:
    """Rows of queries and keys, which are unchanged, followed by value heads in GGUF's order."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        yield from _behind_keys(self.name, stored, stored.shape, GatedDeltaSizes.from_model(model))


@attrs.frozen
class ConvChannels:
    """The convolution kernel over queries, keys and values; Hugging Face has the shape (rows, 1, size)."""

    name: str
    tiled: bool = False

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        shape = (stored.shape[0], 1, stored.shape[-1])
        if self.tiled:
            yield from _behind_keys(self.name, stored, shape, GatedDeltaSizes.from_model(model))
        else:
            yield self.name, shape, TensorChunk(stored)


def _behind_keys(name: str, stored: GgufTensor, shape: tuple[int, ...], sizes: GatedDeltaSizes) -> Targets:
    """Yield queries and keys unchanged, then the value heads in GGUF's order."""
    keys, rows = 2 * sizes.num_k_heads * sizes.k_head_dim, stored.shape[0]
    whole = StridedView.full(shape)
    yield name, shape, TensorChunk(stored.rows(0, keys), whole.slice(0, 0, keys))
    yield name, shape, TensorChunk(stored.rows(keys, rows), sizes.tiled(whole.slice(0, keys, rows), 0))


@attrs.frozen
class InterleaveQKVZ:
    """Hugging Face interleaves queries, keys, values and gates by group; GGUF stores the gates separately.

    In both GGUF tensors each kind is contiguous over all groups.
    """

    name: str
    gates: bool

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        sizes = GatedDeltaSizes.from_model(model)
        values = sizes.v_heads_per_k_head * sizes.v_head_dim
        ends = (
            0,
            sizes.k_head_dim,
            2 * sizes.k_head_dim,
            2 * sizes.k_head_dim + values,
            2 * sizes.k_head_dim + 2 * values,
        )
        spans = [*pairwise(ends)]
        shape = (sizes.num_k_heads * ends[-1], stored.shape[-1])
        grouped = StridedView.full(shape).split(0, sizes.num_k_heads, ends[-1])
        offset = 0
        for start, stop in spans[3:] if self.gates else spans[:3]:
            rows = sizes.num_k_heads * (stop - start)
            chunk = TensorChunk(stored.rows(offset, offset + rows), grouped.slice(1, start, stop))
            yield self.name, shape, chunk
            offset += rows
