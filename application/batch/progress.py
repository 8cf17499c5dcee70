"""What a run of a batch has done, and the lines that it skips."""

import attrs

from litgpt.application.batch.lines import BatchLine
from litgpt.application.files.id_set import IdSet


@attrs.define
class BatchCounts:
    """What a run has done so far; tokens are those of the answers."""

    done: int = 0
    errors: int = 0
    skipped: int = 0
    repeated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@attrs.define(eq=False)
class SkippedLines:
    """Recognizes lines that are answered already, and those that repeat an id; it counts both.

    Attributes:
        done: The ids that the output has.
    """

    done: IdSet
    counts: BatchCounts
    _seen: IdSet = attrs.field(factory=IdSet, init=False)

    def skips(self, line: BatchLine) -> bool:
        """Return whether a line is to be skipped, which also makes its id a known one."""
        if not self._seen.add(line.id):
            self.counts.repeated += 1
            return True
        if line.id in self.done:
            self.counts.skipped += 1
            return True
        return False
