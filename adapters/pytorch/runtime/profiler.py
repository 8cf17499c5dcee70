"""Profilers of time, with device synchronization, and of peak memory."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
import torch


@attrs.frozen
class CpuProfiler:
    """Wall-clock time and the peak resident memory of the process."""

    def now(self) -> float:
        """Return the time in seconds; computations on a CPU are synchronous."""
        return time.perf_counter()

    def reset_peak(self) -> None:
        """Reset the peak on Linux; other systems do not support this."""
        if _CLEAR_REFS.exists():
            try:
                _CLEAR_REFS.write_text("5")
            except OSError:  # forbidden in some containers; the peak is then that of the whole process
                return

    def peak_bytes(self) -> Mapping[str, int]:
        """Return the peak since `reset_peak`; on systems other than Linux, since the start of the process."""
        if _STATUS.exists():
            lines = _STATUS.read_text().splitlines()
            line = next((line for line in lines if line.startswith("VmHWM")), None)
            if line is not None:
                return {"cpu": int(line.split()[1]) * 1024}
        if sys.platform == "win32":
            return {}
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"cpu": peak if sys.platform == "darwin" else peak * 1024}


@attrs.frozen
class CudaProfiler:
    """Time with synchronization of all CUDA devices, and the peak memory that torch allocates on each."""

    def now(self) -> float:
        """Return the time in seconds after all devices are synchronized."""
        for device in range(torch.cuda.device_count()):
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def reset_peak(self) -> None:
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)

    def peak_bytes(self) -> Mapping[str, int]:
        """Return the peak of torch's allocated memory, by device."""
        return {
            f"cuda:{device}": torch.cuda.max_memory_allocated(device)
            for device in range(torch.cuda.device_count())
        }


_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
