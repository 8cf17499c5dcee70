"""The contract of generators, for a model that transformers computes."""

import pytest
import torch

from litgpt.adapters.pytorch.bridge.describe import describe
from litgpt.adapters.pytorch.distribution.strategy import TorchStrategy
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.ports import Generator
from litgpt.domain.progress import null_reporter
from litgpt.testing import MemoryCheckpoint
from tests.contracts.distribution_strategy import CONFIG, shapes
from tests.contracts.generator import GeneratorContract


class TestBridgedGenerator(GeneratorContract):
    @pytest.fixture
    def generator(self) -> Generator:
        random = torch.Generator().manual_seed(0)
        checkpoint = MemoryCheckpoint(
            CONFIG, {name: torch.randn(shape, generator=random) for name, shape in shapes().items()}
        )
        found = describe("tiny", checkpoint.config, checkpoint.tensors, "it was chosen")
        placement = Placement(devices=("cpu",), dtype="float32", engine="transformers")
        placed = TorchStrategy().build(
            placement, found.architecture, found.sources, checkpoint, null_reporter
        )
        return placed.generator()

    @pytest.mark.slow
    def test_an_iterator_of_requests_is_read_as_answers_end(self, generator: Generator) -> None:
        super().test_an_iterator_of_requests_is_read_as_answers_end(generator)
