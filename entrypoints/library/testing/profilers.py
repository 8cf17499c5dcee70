"""A fake Profiler with a scripted clock."""

from collections.abc import Mapping

import attrs


@attrs.define
class ScriptedProfiler:
    """Advances its clock by `tick` seconds with each call; memory by device, in bytes, is constant."""

    tick: float = 1.0
    bytes_in_use: Mapping[str, int] = attrs.field(factory=dict)
    resets: int = attrs.field(default=0, init=False)
    _now: float = attrs.field(default=0.0, init=False)

    def now(self) -> float:
        """Return the time, in seconds."""
        self._now += self.tick
        return self._now

    def reset_peak(self) -> None:
        self.resets += 1

    def peak_bytes(self) -> Mapping[str, int]:
        """Return `bytes_in_use`; empty before the first reset."""
        return self.bytes_in_use if self.resets else {}
