"""Which slice of a tensor each tensor-parallel rank holds, and where it is in the checkpoint."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.pieces import Piece
from litgpt.domain.weights import Join

Span: TypeAlias = tuple[int, int]
"""Start and end (exclusive)."""

Cut: TypeAlias = Literal["rows", "columns"]


@attrs.frozen
class Split:
    """A rank's slice of a parameter.

    Attributes:
        cut: Dimension of the split; None replicates the parameter.
        spans: The rank's spans along it, concatenated.
        once: Whether only the first rank uses the parameter, because it is added before an all-reduce.

    """

    cut: Cut | None = None
    spans: tuple[Span, ...] = ()
    once: bool = False


WHOLE = Split()
ONCE = Split(once=True)


def restricted(join: Join, split: Split) -> Join:
    """Return the checkpoint pieces of a rank's slice of a parameter."""
    parameter = join.parameter
    match split.cut:
        case None:
            return join
        case "rows":
            rows = tuple(stop - start for start, stop in split.spans)
            pieces = tuple(piece for span in split.spans for piece in _rows(join, span))
            shape = (sum(rows), *parameter.shape[1:])
            return Join(attrs.evolve(parameter, shape=shape, rows=rows), pieces)
        case "columns":
            ((start, stop),) = split.spans
            pieces = tuple(attrs.evolve(piece, columns=(start, stop)) for piece in join.pieces)
            shape = (parameter.shape[0], stop - start)
            return Join(attrs.evolve(parameter, shape=shape), pieces)


def _rows(join: Join, wanted: Span) -> Iterator[Piece]:
    reached = 0
    for piece in join.pieces:
        start, stop = max(wanted[0], reached), min(wanted[1], reached + piece.rows)
        if start < stop:
            yield from piece.cut(start - reached, stop - reached)
        reached += piece.rows
