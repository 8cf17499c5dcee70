"""How the learning rate changes: linearly up, then down along half a cosine."""

import math

import attrs


@attrs.frozen(kw_only=True)
class Schedule:
    """The share of the learning rate that each step has.

    Attributes:
        steps: How many optimiser steps there will be.
        warmup: How many of them rise to the whole rate.
        floor: The share that is left at the end.

    """

    steps: int
    warmup: int = 0
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the share of a step, counted from 0; the first is above nothing, so that it learns."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        done = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
