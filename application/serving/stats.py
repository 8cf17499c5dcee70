"""Counts and rates of a running engine."""

from collections import deque

import attrs

_MIN_SECONDS, _MAX_SECONDS = 1.0, 600.0


@attrs.define(kw_only=True)
class EngineStats:
    """What an engine loop has done since it started, and its state.

    Attributes:
        steps: The steps that were computed.
        failed_steps: Those that ended with an error, which failed all requests of the step.
        prompt_tokens: The tokens of the prompts of answers that have begun.
        cached_tokens: The number of these whose KV cache was reused.
        completion_tokens: The tokens that were generated.
        is_alive: Whether requests can be computed.
        running: The requests that are being computed.
        waiting: The requests that no step has computed yet.
        pages_used: The pages of the KV cache that are in use, with those of cached prefixes.
        pages_total: All pages of the KV cache.
        step_seconds: The time since the current step began, in seconds; 0 between steps.
    """

    steps: int = 0
    failed_steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    is_alive: bool = True
    running: int = 0
    waiting: int = 0
    pages_used: int = 0
    pages_total: int = 0
    step_seconds: float = 0.0


@attrs.define
class FinishRate:
    """The rate at which requests finish, from the last ones."""

    _times: deque[float] = attrs.field(factory=lambda: deque(maxlen=32), init=False)

    def add(self, now: float) -> None:
        self._times.append(now)

    def seconds_for(self, count: int) -> float:
        """Return the seconds in which `count` requests finish, from 1 to 600."""
        if len(self._times) < 2:
            return _MIN_SECONDS
        interval = (self._times[-1] - self._times[0]) / (len(self._times) - 1)
        return min(max(interval * count, _MIN_SECONDS), _MAX_SECONDS)
