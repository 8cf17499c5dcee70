"""How the tensors of a gated delta rule lie in those of Hugging Face.

Its heads of values are dealt out to its groups of queries and keys. Hugging Face has them group by group;
GGUF has the first of each group, then the second of each, … in the models that it calls qwen35.

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
    """How many groups there are, heads of values in each, and numbers in a key and in a value."""

    num_k_heads: int
    v_heads_per_k_head: int
    k_head_dim: int
    v_head_dim: int

    @classmethod
    def from_model(cls, model: GgufModel) -> "GatedDeltaSizes":
        """Read them."""
        groups, heads, key, inner = (
            model.integer(f"ssm.{name}") or 0
            for name in ("group_count", "time_step_rank", "state_size", "inner_size")
        )
        if not groups or not heads or heads % groups or inner % heads:
            raise ValueError(f"{heads} heads of {inner} values in {groups} groups")
        return cls(groups, heads // groups, key, inner // heads)

    def tiled(self, view: StridedView, axis: int) -> StridedView:
        """Return heads of values, which lie along a dimension, in GGUF's order."""
        size = view.sizes[axis] // (self.num_k_heads * self.v_heads_per_k_head)
        return view.split(axis, self.num_k_heads, self.v_heads_per_k_head, size).swap(axis, axis + 1)


Targets = Iterator[tuple[str, tuple[int, ...], TensorChunk]]


@attrs.frozen
class TiledRows:
    """Rows of the heads of values."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        """Yield the one part."""
        yield (
            self.name,
            stored.shape,
            TensorChunk(stored, GatedDeltaSizes.from_model(model).tiled(StridedView.full(stored.shape), 0)),
        )


@attrs.frozen
class TiledColumns:
    """Columns of the heads of values."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        """Yield the one part."""
        yield (
            self.name,
            stored.shape,
            TensorChunk(stored, GatedDeltaSizes.from_model(model).tiled(StridedView.full(stored.shape), 1)),
        )


@attrs.frozen
class QKVRows:
    """Rows of queries and keys, which stay, and then of the heads of values."""

    name: str

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        """Yield the two parts."""
        yield from _behind_keys(self.name, stored, stored.shape, GatedDeltaSizes.from_model(model))


@attrs.frozen
class ConvChannels:
    """The kernel of a convolution over all three, which Hugging Face has as (rows, 1, size)."""

    name: str
    tiled: bool = False

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        """Yield the parts."""
        shape = (stored.shape[0], 1, stored.shape[-1])
        if self.tiled:
            yield from _behind_keys(self.name, stored, shape, GatedDeltaSizes.from_model(model))
        else:
            yield self.name, shape, TensorChunk(stored)


def _behind_keys(name: str, stored: GgufTensor, shape: tuple[int, ...], sizes: GatedDeltaSizes) -> Targets:
    """Yield queries and keys as they are, and the values behind them by head."""
    keys, rows = 2 * sizes.num_k_heads * sizes.k_head_dim, stored.shape[0]
    whole = StridedView.full(shape)
    yield name, shape, TensorChunk(stored.rows(0, keys), whole.slice(0, 0, keys))
    yield name, shape, TensorChunk(stored.rows(keys, rows), sizes.tiled(whole.slice(0, keys, rows), 0))


@attrs.frozen
class InterleaveQKVZ:
    """Hugging Face has, group by group, queries, keys, values and their gates; GGUF has the gates apart.

    In both of GGUF's tensors all groups' rows of one kind lie together.
    """

    name: str
    gates: bool

    def targets(self, stored: GgufTensor, model: GgufModel) -> Targets:
        """Yield the parts."""
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
        dealt = StridedView.full(shape).split(0, sizes.num_k_heads, ends[-1])
        reached = 0
        for start, stop in spans[3:] if self.gates else spans[:3]:
            rows = sizes.num_k_heads * (stop - start)
            yield (
                self.name,
                shape,
                TensorChunk(stored.rows(reached, reached + rows), dealt.slice(1, start, stop)),
            )
            reached += rows
