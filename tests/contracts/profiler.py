"""Contract tests of the port Profiler, for all adapters and the fake."""

import pytest

from litgpt.domain.ports import Profiler


class ProfilerContract:
    @pytest.fixture
    def profiler(self) -> Profiler:
        raise NotImplementedError

    def test_time_goes_forward(self, profiler: Profiler) -> None:
        times = [profiler.now() for _ in range(5)]
        assert times == sorted(times)
        assert times[0] < times[-1]

    def test_memory_in_use_is_counted_per_device(self, profiler: Profiler) -> None:
        profiler.reset_peak()
        for device, used in profiler.peak_bytes().items():
            assert device.partition(":")[0] in ("cpu", "cuda", "mps")
            assert used > 0
