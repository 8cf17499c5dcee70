"""How the tensors of a gated delta rule lie in those of Hugging Face.

Its heads of values are dealt out to its groups of queries and keys. Hugging Face has them group by group;
GGUF has the first of each group, then the second of each, … in the models that it calls qwen35.

Source: `modify_tensors` of the Qwen models in llama.cpp's converter.
"""

from collections.abc import Iterator
from itertools import pairwise

import attrs

from litgpt.adapters.checkpoints.gguf.header import StoredTensor
from litgpt.adapters.checkpoints.gguf.reading import Part
from litgpt.adapters.checkpoints.gguf.source import Source
from litgpt.adapters.checkpoints.gguf.views import View


@attrs.frozen
class Sizes:
    """How many groups there are, heads of values in each, and numbers in a key and in a value."""

    groups: int
    heads: int
    key: int
    value: int

    @classmethod
    def of(cls, source: Source) -> "Sizes":
        """Read them."""
        groups, heads, key, inner = (
            source.integer(f"ssm.{name}") or 0
            for name in ("group_count", "time_step_rank", "state_size", "inner_size")
        )
        if not groups or not heads or heads % groups or inner % heads:
            raise ValueError(f"{heads} heads of {inner} values in {groups} groups")
        return cls(groups, heads // groups, key, inner // heads)

    def tiled(self, view: View, axis: int) -> View:
        """Return heads of values, which lie along a dimension, in GGUF's order."""
        size = view.sizes[axis] // (self.groups * self.heads)
        return view.split(axis, self.groups, self.heads, size).swap(axis, axis + 1)


Fills = Iterator[tuple[str, tuple[int, ...], Part]]


@attrs.frozen
class Tiled:
    """Rows of the heads of values."""

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Fills:
        """Yield the one part."""
        yield self.name, stored.shape, Part(stored, Sizes.of(source).tiled(View.of(stored.shape), 0))


@attrs.frozen
class Columns:
    """Columns of the heads of values."""

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Fills:
        """Yield the one part."""
        yield self.name, stored.shape, Part(stored, Sizes.of(source).tiled(View.of(stored.shape), 1))


@attrs.frozen
class Qkv:
    """Rows of queries and keys, which stay, and then of the heads of values."""

    name: str

    def fills(self, stored: StoredTensor, source: Source) -> Fills:
        """Yield the two parts."""
        yield from _behind_keys(self.name, stored, stored.shape, Sizes.of(source))


@attrs.frozen
class Channels:
    """The kernel of a convolution over all three, which Hugging Face has as (rows, 1, size)."""

    name: str
    tiled: bool = False

    def fills(self, stored: StoredTensor, source: Source) -> Fills:
        """Yield the parts."""
        shape = (stored.shape[0], 1, stored.shape[-1])
        if self.tiled:
            yield from _behind_keys(self.name, stored, shape, Sizes.of(source))
        else:
            yield self.name, shape, Part(stored)


def _behind_keys(name: str, stored: StoredTensor, shape: tuple[int, ...], sizes: Sizes) -> Fills:
    """Yield queries and keys as they are, and the values behind them by head."""
    keys, rows = 2 * sizes.groups * sizes.key, stored.shape[0]
    whole = View.of(shape)
    yield name, shape, Part(stored.rows(0, keys), whole.cut(0, 0, keys))
    yield name, shape, Part(stored.rows(keys, rows), sizes.tiled(whole.cut(0, keys, rows), 0))


@attrs.frozen
class Qkvz:
    """Hugging Face has, group by group, queries, keys, values and their gates; GGUF has the gates apart.

    In both of GGUF's tensors all groups' rows of one kind lie together.
    """

    name: str
    gates: bool

    def fills(self, stored: StoredTensor, source: Source) -> Fills:
        """Yield the parts."""
        sizes = Sizes.of(source)
        values = sizes.heads * sizes.value
        ends = (0, sizes.key, 2 * sizes.key, 2 * sizes.key + values, 2 * sizes.key + 2 * values)
        spans = [*pairwise(ends)]
        shape = (sizes.groups * ends[-1], stored.shape[-1])
        dealt = View.of(shape).split(0, sizes.groups, ends[-1])
        reached = 0
        for start, stop in spans[3:] if self.gates else spans[:3]:
            rows = sizes.groups * (stop - start)
            yield self.name, shape, Part(stored.rows(reached, reached + rows), dealt.cut(1, start, stop))
            reached += rows
