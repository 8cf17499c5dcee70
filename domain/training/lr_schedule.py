"""Learning-rate schedule: linear warmup and cosine decay."""

import math

import attrs


@attrs.frozen(kw_only=True)
class WarmupCosine:
    """The factor of the peak learning rate at each step, from a linear warmup and a cosine decay."""

    total_steps: int
    warmup_steps: int = 0
    min_lr_ratio: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the factor at a step, counted from 0; it is positive at the first step."""
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        done = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        return self.min_lr_ratio + (1 - self.min_lr_ratio) * (1 + math.cos(math.pi * done)) / 2
