"""The port Profiler: time and peak memory."""

from collections.abc import Mapping
from typing import Protocol


class Profiler(Protocol):
    """A clock that synchronizes with the device, and its peak memory."""

    def now(self) -> float:
        """Synchronize with the device and return a monotonic time in seconds."""
        ...

    def reset_peak(self) -> None:
        """Reset the peak memory statistics."""
        ...

    def peak_bytes(self) -> Mapping[str, int]:
        """Return the peak memory in bytes since `reset_peak`, by device; empty if unknown."""
        ...
