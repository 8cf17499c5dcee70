"""How tensor parallelism divides a parameter over ranks."""

from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import UnsupportedOperation

Range: TypeAlias = tuple[int, int]
"""Start and end (exclusive)."""


def even_range(count: int, world_size: int, rank: int) -> Range:
    """Return a rank's range of `count` items, distributed as evenly as possible."""
    return count * rank // world_size, count * (rank + 1) // world_size


@attrs.frozen
class Split:
    """Items along a dimension, such as attention heads, that are distributed over ranks.

    Attributes:
        count: Number of items.
        size: Rows or columns of an item.
        num_groups: Number of equal groups of items, which stay together if there are enough for all ranks.
        replicated: Whether each rank has at least one item, which several ranks may share.
    """

    count: int
    size: int = 1
    num_groups: int = 1
    replicated: bool = False

    def items(self, world_size: int, rank: int) -> Range:
        """Return a rank's items."""
        grouped = self.num_groups >= world_size
        first, last = even_range(self.num_groups if grouped else self.count, world_size, rank)
        last = max(last, first + self.replicated)
        per_group = self.count // self.num_groups if grouped else 1
        return first * per_group, last * per_group


@attrs.frozen
class Sharding:
    """How a parameter is divided over ranks.

    Attributes:
        dim: Dimension that is divided; None replicates the parameter.
        splits: Sections of the dimension that are divided separately, such as queries, keys and values.
        rank0_only: Whether only the first rank uses the parameter, because it is added before an all-reduce.
    """

    dim: Literal[0, 1] | None = None
    splits: tuple[Split, ...] = ()
    rank0_only: bool = False

    def ranges(self, world_size: int, rank: int) -> tuple[Range, ...]:
        """Return a rank's ranges along `dim`, one for each section."""
        ranges, offset = [], 0
        for split in self.splits:
            first, last = split.items(world_size, rank)
            ranges.append((offset + first * split.size, offset + last * split.size))
            offset += split.count * split.size
        return tuple(ranges)


REPLICATED = Sharding()
RANK0_ONLY = Sharding(rank0_only=True)


def unsupported(world_size: int, reason: str) -> UnsupportedOperation:
    """Return the error for a model that cannot be divided over this number of ranks."""
    return UnsupportedOperation(
        f"generate_strategy='tensor_parallel' with {world_size} devices", f"{reason}."
    )
