"""How the learning rate changes: linearly up, then down along half a cosine."""

import math

import attrs


@attrs.frozen(kw_only=True)
class WarmupCosine:
    """The share of the learning rate that each step has.

    Attributes:
        total_steps: How many optimizer steps there will be.
        warmup_steps: How many of them rise to the whole rate.
        min_lr_ratio: The share that is left at the end.

    """

    total_steps: int
    warmup_steps: int = 0
    min_lr_ratio: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the share of a step, counted from 0; the first is above nothing, so that it learns."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        done = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * (1 + math.cos(math.pi * done)) / 2
