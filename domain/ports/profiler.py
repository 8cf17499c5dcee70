"""The port Profiler, which answers how long and how much memory."""

from collections.abc import Mapping
from typing import Protocol


class Profiler(Protocol):
    """A clock that waits for the device, and its memory's high-water mark."""

    def now(self) -> float:
        """Return seconds since some fixed moment, once the device has done all that was asked of it."""
        ...

    def reset_peak(self) -> None:
        """Start to look for the high-water mark anew."""
        ...

    def peak_bytes(self) -> Mapping[str, int]:
        """Return the most memory in use at once since `reset_peak`, in bytes, by device; empty if unknown."""
        ...
