"""How one tensor is cut: what of it a rank has, and which views of theirs that is read through."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.pieces import Piece
from litgpt.domain.weights import Join

Span: TypeAlias = tuple[int, int]
"""The first, and the one after the last."""

Cut: TypeAlias = Literal["rows", "columns"]


@attrs.frozen
class Split:
    """How one tensor of ours is split.

    Attributes:
        cut: Along which dimension; None: each rank has all of it.
        spans: What of it is the rank's, end to end.
        once: Whether only the first rank has it, because it is added to a sum over the ranks.

    """

    cut: Cut | None = None
    spans: tuple[Span, ...] = ()
    once: bool = False


WHOLE = Split()
ONCE = Split(once=True)


def restricted(join: Join, split: Split) -> Join:
    """Return a join of a rank's part alone.

    Args:
        join: Of the whole.
        split: What the rank has.

    """
    parameter = join.parameter
    match split.cut:
        case None:
            return join
        case "rows":
            rows = tuple(stop - start for start, stop in split.spans)
            pieces = tuple(piece for one in split.spans for piece in _rows(join, one))
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
