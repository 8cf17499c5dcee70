import pytest

from litgpt.testing import ScriptedProfiler
from tests.contracts.profiler import ProfilerContract


class TestScriptedProfiler(ProfilerContract):
    @pytest.fixture
    def profiler(self) -> ScriptedProfiler:
        return ScriptedProfiler(bytes_in_use={"cpu": 5})
