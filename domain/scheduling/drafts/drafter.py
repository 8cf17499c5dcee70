"""What an engine needs to verify drafts: tokens that may follow a sequence, proposed before each step."""

from collections.abc import Sequence
from typing import Protocol

from litgpt.domain.scheduling.sequence import ScheduledSequence


class Drafter(Protocol):
    """Proposes tokens that may follow the running sequences.

    The engine verifies them in its next step, so a proposal never changes a text. A drafter keeps what it
    needs of a sequence until `release`.
    """

    def propose(self, batch: Sequence[tuple[ScheduledSequence, int]]) -> list[list[int]]:
        """Return a draft for each sequence, which may be empty.

        Called before each step in which all running sequences are decoding. An error of the drafter itself,
        such as a failed allocation, is not raised: it proposes nothing.

        Args:
            batch: Sequences without a draft, each with the largest number of tokens to propose, at least 1.
        """
        ...

    def update(self, sequence: ScheduledSequence, num_proposed: int, num_accepted: int) -> None:
        """Adapt to the outcome of a proposal for a sequence, which may have been released meanwhile."""
        ...

    def release(self, sequence: ScheduledSequence) -> None:
        """Forget a sequence that has finished or was preempted; called any number of times."""
        ...

    def close(self) -> None:
        """Free all memory; the drafter can be used again."""
        ...
