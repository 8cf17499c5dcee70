"""Which lines of a batch file a process answers, if several processes share it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from litgpt.domain.errors import InvalidArgument, UnsupportedOperation

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),  # torchrun
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETION_COUNT"),  # an indexed job of Kubernetes; the count is the user's
)
_EXPECTED = "RANK/WORLD, such as 0/8, with RANK from 0 to WORLD - 1"


@attrs.frozen
class Shard:
    """The lines whose number modulo `world` is `rank`, counted from 0."""

    rank: int = 0
    world: int = 1

    @classmethod
    def parse(cls, text: str | None, environment: Mapping[str, str] = os.environ) -> "Shard":
        """Return the shard that a user specified, or that a launcher of processes did; else all lines.

        Raises:
            InvalidArgument: It is not a rank below a world size.
        """
        if text is not None:
            return cls._of("shard", text)
        for rank, world in _LAUNCHERS:
            if rank in environment and world in environment:
                return cls._of(f"{rank}/{world}", f"{environment[rank]}/{environment[world]}")
        return cls()

    @classmethod
    def _of(cls, name: str, text: str) -> "Shard":
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
        if match is None or int(match[1]) >= int(match[2]):
            raise InvalidArgument(name, text, _EXPECTED)
        return cls(int(match[1]), int(match[2]))

    def has(self, number: int) -> bool:
        """Return whether the line with a number, counted from 1, belongs to the shard."""
        return (number - 1) % self.world == self.rank

    def path(self, output: Path) -> Path:
        """Return the file of the shard: `out.r00003.jsonl` for `out.jsonl`, or that itself without shards."""
        return (
            output if self.world == 1 else output.with_name(f"{output.stem}.r{self.rank:05}{output.suffix}")
        )


def shard_paths(output: Path) -> list[Path]:
    """Return the existing files of the shards of an output, by rank.

    Raises:
        UnsupportedOperation: There are none, or one before the last is missing.
    """
    pattern = re.compile(rf"{re.escape(output.stem)}\.r([0-9]{{5,}}){re.escape(output.suffix)}")
    folder = output.parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    ranks = sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)
    first = Shard(0, 2).path(output).name
    if not ranks:
        reason = f"files of shards, such as {first}, were not found. Run `litgpt batch` with --shard."
        raise UnsupportedOperation(f"Merging {output}", reason)
    missing = sorted({*range(ranks[-1])} - {*ranks})
    if missing:
        name = Shard(missing[0], missing[0] + 2).path(output).name
        raise UnsupportedOperation(f"Merging {output}", f"{name} is missing. Run that shard first.")
    return [Shard(rank, ranks[-1] + 2).path(output) for rank in ranks]
