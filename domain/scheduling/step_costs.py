"""The time of steps by the number of their tokens, as it was measured."""

import attrs

_SMOOTHING = 0.2
_FIXED_COST = 6
"""The time of a step without any token, in tokens, until it is known better."""
_MAX_EXACT = 16


@attrs.define(eq=False)
class StepCosts:
    """The processor time of a model's steps, in seconds.

    Attributes:
        total: The time of all steps so far.
    """

    total: float = 0.0
    _seconds: dict[int, float] = attrs.field(factory=dict, init=False, repr=False)

    def add(self, num_tokens: int, seconds: float) -> None:
        """Add a step that has computed `num_tokens` tokens."""
        self.total += seconds
        size = num_tokens if num_tokens <= _MAX_EXACT else 1 << (num_tokens.bit_length() - 1)
        seconds = seconds * size / num_tokens
        known = self._seconds.get(size, seconds)
        self._seconds[size] = known + _SMOOTHING * (seconds - known)

    def estimate(self, num_tokens: int) -> float | None:
        """Return the time that a step of `num_tokens` tokens will take; None before the first step."""
        below = max((it for it in self._seconds if it <= num_tokens), default=None)
        above = min((it for it in self._seconds if it >= num_tokens), default=None)
        if below is None or above is None:
            nearest = below or above
            if nearest is None:
                return None
            return self._seconds[nearest] * (_FIXED_COST + num_tokens) / (_FIXED_COST + nearest)
        if below == above:
            return self._seconds[below]
        share = (num_tokens - below) / (above - below)
        return self._seconds[below] + share * (self._seconds[above] - self._seconds[below])
