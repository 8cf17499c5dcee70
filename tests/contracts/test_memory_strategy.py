import pytest

from litgpt.testing import MemoryCheckpoint, MemoryStrategy, MemoryTensor
from tests.contracts.distribution_strategy import CONFIG, DistributionStrategyContract, shapes


class TestMemoryStrategy(DistributionStrategyContract):
    @pytest.fixture
    def strategy(self) -> MemoryStrategy:
        return MemoryStrategy()

    @pytest.fixture
    def checkpoint(self) -> MemoryCheckpoint:
        return MemoryCheckpoint(CONFIG, {name: MemoryTensor(shape) for name, shape in shapes().items()})
