"""How a tensor that is split over ranks is put together again: what says how it is split, read backwards."""

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.cutting import Span
from litgpt.domain.parameters import Parameter
from litgpt.domain.sharding import split_of


@attrs.frozen
class Patch:
    """A stretch of a tensor that a rank has.

    Attributes:
        rank: Which rank.
        start: Where it begins in that rank's part.
        span: Where it belongs in the whole.

    """

    rank: int
    start: int
    span: Span

    @property
    def length(self) -> int:
        """How long it is."""
        return self.span[1] - self.span[0]


@attrs.frozen
class Patchwork:
    """The stretches that are all of a tensor, each once.

    Attributes:
        dimension: Along which they lie.
        patches: The stretches; those of one rank are in the order in which it has them.

    """

    dimension: int
    patches: tuple[Patch, ...]

    @property
    def alone(self) -> bool:
        """Whether the first rank has all of it."""
        return all(patch.rank == 0 for patch in self.patches)


def patchwork(architecture: Architecture, parameter: Parameter, ranks: int) -> Patchwork:
    """Return who has what of a tensor. Of what several ranks have, the first of them is asked.

    Args:
        architecture: The whole that the tensor is of.
        parameter: The whole tensor.
        ranks: How many ranks there are.

    """
    if split_of(architecture, parameter, ranks, 0).cut is None:
        return Patchwork(0, (Patch(0, 0, (0, parameter.shape[0])),))
    found: dict[Span, Patch] = {}
    dimension = 0
    for rank in range(ranks):
        split, start = split_of(architecture, parameter, ranks, rank), 0
        dimension = 0 if split.cut == "rows" else 1
        for span in split.spans:
            if span[0] < span[1]:
                found.setdefault(span, Patch(rank, start, span))
            start += span[1] - span[0]
    return Patchwork(dimension, tuple(found.values()))
