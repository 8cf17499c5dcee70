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

    def has_measured(self, num_tokens: int) -> bool:
        """Return whether there was a step of at most `num_tokens` tokens."""
        return min(self._seconds, default=num_tokens + 1) <= num_tokens

    def estimate(self, num_tokens: int) -> float | None:
        """Return the time that a step of `num_tokens` tokens will take; None before the first step.

        A step is not expected to take longer than a measured one of more tokens.
        """
        found: tuple[int, float] | None = None  # the next larger size and its time
        for size in sorted(self._seconds, reverse=True):
            seconds = self._seconds[size] if found is None else min(self._seconds[size], found[1])
            if size <= num_tokens:
                if found is None:
                    return seconds * (_FIXED_COST + num_tokens) / (_FIXED_COST + size)
                share = (num_tokens - size) / (found[0] - size)
                return seconds + share * (found[1] - seconds)
            found = size, seconds
        return None if found is None else found[1] * (_FIXED_COST + num_tokens) / (_FIXED_COST + found[0])
