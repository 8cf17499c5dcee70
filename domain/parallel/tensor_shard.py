"""Which slice of a tensor each tensor-parallel rank holds, and where it is in the checkpoint."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_view import TensorView

Range: TypeAlias = tuple[int, int]
"""Start and end (exclusive)."""

SplitAxis: TypeAlias = Literal["rows", "columns"]


@attrs.frozen
class TensorShard:
    """A rank's slice of a parameter.

    Attributes:
        dim: Dimension of the split; None replicates the parameter.
        ranges: The rank's ranges along it, concatenated.
        rank0_only: Whether only the first rank uses the parameter, because it is added before an all-reduce.
    """

    dim: SplitAxis | None = None
    ranges: tuple[Range, ...] = ()
    rank0_only: bool = False


REPLICATED = TensorShard()
RANK0_ONLY = TensorShard(rank0_only=True)


def shard_source(source: ParameterSource, shard: TensorShard) -> ParameterSource:
    """Return the checkpoint pieces of a rank's slice of a parameter."""
    parameter = source.parameter
    match shard.dim:
        case None:
            return source
        case "rows":
            rows = tuple(stop - start for start, stop in shard.ranges)
            pieces = tuple(piece for span in shard.ranges for piece in _row_views(source, span))
            shape = (sum(rows), *parameter.shape[1:])
            return ParameterSource(attrs.evolve(parameter, shape=shape, split_sizes=rows), pieces)
        case "columns":
            ((start, stop),) = shard.ranges
            pieces = tuple(attrs.evolve(piece, column_range=(start, stop)) for piece in source.views)
            shape = (parameter.shape[0], stop - start)
            return ParameterSource(attrs.evolve(parameter, shape=shape), pieces)


def _row_views(source: ParameterSource, wanted: Range) -> Iterator[TensorView]:
    reached = 0
    for piece in source.views:
        start, stop = max(wanted[0], reached), min(wanted[1], reached + piece.num_rows)
        if start < stop:
            yield from piece.slice_rows(start - reached, stop - reached)
        reached += piece.num_rows
