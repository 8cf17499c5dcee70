"""How to reassemble a sharded tensor: the inverse of `tensor_parallel`."""

import attrs

from litgpt.domain.model import Architecture
from litgpt.domain.parallel.tensor_parallel import tensor_shard
from litgpt.domain.parallel.tensor_shard import Range
from litgpt.domain.weights.parameters import ParameterSpec


@attrs.frozen
class ShardSlice:
    """A slice of a tensor, at `start` in the shard of `rank` and at `range` in the whole tensor."""

    rank: int
    start: int
    range: Range

    @property
    def length(self) -> int:
        return self.range[1] - self.range[0]


@attrs.frozen
class GatherPlan:
    """Slices along `dim` that cover a tensor exactly once, in shard order for each rank."""

    dim: int
    slices: tuple[ShardSlice, ...]

    @property
    def on_rank0(self) -> bool:
        """Whether the first rank has the whole tensor."""
        return all(patch.rank == 0 for patch in self.slices)


def gather_plan(architecture: Architecture, parameter: ParameterSpec, world_size: int) -> GatherPlan:
    """Return the slices of a parameter; a replicated slice is taken from the first rank that has it."""
    if tensor_shard(architecture, parameter, world_size, 0).dim is None:
        return GatherPlan(0, (ShardSlice(0, 0, (0, parameter.shape[0])),))
    patches: dict[Range, ShardSlice] = {}
    dimension = 0
    for rank in range(world_size):
        split, start = tensor_shard(architecture, parameter, world_size, rank), 0
        dimension = 0 if split.dim == "rows" else 1
        for span in split.ranges:
            if span[0] < span[1]:
                patches.setdefault(span, ShardSlice(rank, start, span))
            start += span[1] - span[0]
    return GatherPlan(dimension, tuple(patches.values()))
