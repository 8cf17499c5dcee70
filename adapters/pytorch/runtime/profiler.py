"""Profilers: a clock that waits for the device, and its memory's high-water mark."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
import torch


@attrs.frozen
class CpuProfiler:
    """The process's clock and the most memory that was resident at once."""

    def now(self) -> float:
        """Return seconds; a CPU has finished when the call returns."""
        return time.perf_counter()

    def reset_peak(self) -> None:
        """Let Linux forget the high-water mark; other systems cannot."""
        if _CLEAR_REFS.exists():
            try:
                _CLEAR_REFS.write_text("5")
            except OSError:  # a container may forbid it; the mark is then that of the whole process
                return

    def peak_bytes(self) -> Mapping[str, int]:
        """Return the high-water mark since `reset_peak` (outside Linux, since the process began)."""
        if _STATUS.exists():
            line = next((one for one in _STATUS.read_text().splitlines() if one.startswith("VmHWM")), None)
            if line is not None:
                return {"cpu": int(line.split()[1]) * 1024}
        if sys.platform == "win32":
            return {}
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"cpu": peak if sys.platform == "darwin" else peak * 1024}


@attrs.frozen
class CudaProfiler:
    """A clock that waits for every CUDA device, and torch's count of what is allocated on each."""

    def now(self) -> float:
        """Return seconds, once all devices are idle."""
        for device in range(torch.cuda.device_count()):
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def reset_peak(self) -> None:
        """Start to look for the high-water mark anew."""
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)

    def peak_bytes(self) -> Mapping[str, int]:
        """Return the most that torch had allocated, by device."""
        return {
            f"cuda:{device}": torch.cuda.max_memory_allocated(device)
            for device in range(torch.cuda.device_count())
        }


_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
