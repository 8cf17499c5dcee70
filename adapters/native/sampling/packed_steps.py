"""Sequences of any lengths in steps of a bounded number of tokens."""

from collections.abc import Iterator, Sequence

STEP_TOKENS = 512
"""The tokens of a step: enough to be compute-bound."""


def packed_steps(lengths: Sequence[int]) -> Iterator[list[tuple[int, int, int]]]:
    """Yield steps of at most `STEP_TOKENS` tokens, each as ranges: a sequence, a begin and an end.

    A step has the rest of one sequence, whole sequences, and the beginning of another.
    """
    step: list[tuple[int, int, int]] = []
    room = STEP_TOKENS
    for sequence, length in enumerate(lengths):
        begin = 0
        while begin < length:
            end = min(length, begin + room)
            step.append((sequence, begin, end))
            room -= end - begin
            begin = end
            if room == 0:
                yield step
                step, room = [], STEP_TOKENS
    if step:
        yield step
