"""How to reassemble a sharded tensor: the inverse of `sharding`."""

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.cutting import Span
from litgpt.domain.parameters import Parameter
from litgpt.domain.sharding import split_of


@attrs.frozen
class Patch:
    """A slice of a tensor, at `start` in the shard of `rank` and at `span` in the whole tensor."""

    rank: int
    start: int
    span: Span

    @property
    def length(self) -> int:
        return self.span[1] - self.span[0]


@attrs.frozen
class Patchwork:
    """Slices along `dimension` that cover a tensor exactly once, in shard order for each rank."""

    dimension: int
    patches: tuple[Patch, ...]

    @property
    def alone(self) -> bool:
        """Whether the first rank has the whole tensor."""
        return all(patch.rank == 0 for patch in self.patches)


def patchwork(architecture: Architecture, parameter: Parameter, ranks: int) -> Patchwork:
    """Return the slices of a parameter; a replicated slice is taken from the first rank that has it."""
    if split_of(architecture, parameter, ranks, 0).cut is None:
        return Patchwork(0, (Patch(0, 0, (0, parameter.shape[0])),))
    patches: dict[Span, Patch] = {}
    dimension = 0
    for rank in range(ranks):
        split, start = split_of(architecture, parameter, ranks, rank), 0
        dimension = 0 if split.cut == "rows" else 1
        for span in split.spans:
            if span[0] < span[1]:
                patches.setdefault(span, Patch(rank, start, span))
            start += span[1] - span[0]
    return Patchwork(dimension, tuple(patches.values()))
