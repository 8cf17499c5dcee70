"""How to reassemble a sharded tensor: the inverse of `tensor_parallel`."""

import attrs

from litgpt.domain.model import ParameterSpec
from litgpt.domain.model.sharding import Range


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
        return all(part.rank == 0 for part in self.slices)


def gather_plan(parameter: ParameterSpec, world_size: int) -> GatherPlan:
    """Return the slices of a parameter; a replicated slice is taken from the first rank that has it."""
    dim = parameter.sharding.dim
    if dim is None:
        return GatherPlan(0, (ShardSlice(0, 0, (0, parameter.shape[0])),))
    slices: dict[Range, ShardSlice] = {}
    for rank in range(world_size):
        offset = 0
        for start, stop in parameter.sharding.ranges(world_size, rank):
            if start < stop:
                slices.setdefault((start, stop), ShardSlice(rank, offset, (start, stop)))
            offset += stop - start
    return GatherPlan(dim, tuple(slices.values()))
