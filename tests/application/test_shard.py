"""Tests of the lines of a batch that one of several processes answers."""

import pytest

from litgpt.application.batch.shard import Shard
from litgpt.domain.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("2/4", {"RANK": "1", "WORLD_SIZE": "2"}, Shard(2, 4)),
        (None, {"RANK": "1", "WORLD_SIZE": "2"}, Shard(1, 2)),
        (None, {"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}, Shard(3, 8)),
        (None, {"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETION_COUNT": "3"}, Shard(0, 3)),
        (None, {"JOB_COMPLETION_INDEX": "1"}, Shard()),
    ],
)
def test_the_shard_is_the_option_or_that_of_the_launcher(
    text: str | None, environment: dict[str, str], expected: Shard
) -> None:
    assert Shard.parse(text, environment) == expected


@pytest.mark.parametrize("text", ["4/4", "-1/4", "1", "a/b", "0/0"])
def test_a_shard_is_a_rank_below_a_world_size(text: str) -> None:
    with pytest.raises(InvalidArgument, match="shard must be RANK/WORLD"):
        Shard.parse(text, {})


def test_every_line_is_in_one_shard() -> None:
    shards = [Shard(rank, 3) for rank in range(3)]
    assert [sum(it.has(number) for it in shards) for number in range(1, 11)] == [1] * 10
