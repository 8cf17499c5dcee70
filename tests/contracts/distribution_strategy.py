"""Contract tests of the port DistributionStrategy, for all adapters and the fake."""

from typing import Any

import attrs
import pytest

from litgpt.domain.distribution.placement import DistributeOptions, resolve_placement
from litgpt.domain.families import LLAMA, parse_config
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.model import Architecture, AttentionSpec
from litgpt.domain.ports import Checkpoint, DistributionStrategy
from litgpt.domain.progress import Progress
from litgpt.domain.weights.mapping import map_parameters, validate_mapping

CONFIG = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 64,
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Return the tensor shapes of a checkpoint with this config, by name."""
    planned = map_parameters(parse_config("tiny", CONFIG), LLAMA.weights)
    return {piece.name: piece.shape for join in planned for piece in join.views}


def windowed(window: int) -> Architecture:
    """Return an architecture with a sliding-window layer and a full-attention layer."""
    architecture = parse_config("tiny", CONFIG)
    first, second = architecture.layers
    assert isinstance(first.mixer, AttentionSpec)
    narrow = attrs.evolve(first, mixer=attrs.evolve(first.mixer, sliding_window=window))
    return attrs.evolve(architecture, layers=(narrow, second))


class DistributionStrategyContract:
    """Base class: subclasses provide a strategy and a checkpoint with `CONFIG`, as fixtures."""

    @pytest.fixture
    def strategy(self) -> DistributionStrategy[Any]:
        raise NotImplementedError

    @pytest.fixture
    def checkpoint(self) -> Checkpoint[Any]:
        raise NotImplementedError

    @pytest.fixture
    def options(self) -> DistributeOptions:
        return DistributeOptions(accelerator="cpu")

    def test_there_is_hardware_and_the_best_of_it_exists(self, strategy: DistributionStrategy[Any]) -> None:
        hardware = strategy.hardware()
        assert hardware.device_counts[hardware.accelerator] >= 1
        assert hardware.device_counts["cpu"] == 1

    def test_a_model_is_built_with_each_tensor_read_once_and_then_generates(
        self, strategy: DistributionStrategy[Any], checkpoint: Checkpoint[Any], options: DistributeOptions
    ) -> None:
        architecture = parse_config("tiny", CONFIG)
        planned = validate_mapping("tiny", architecture, LLAMA.weights, checkpoint.tensors)
        placement = resolve_placement(options, strategy.hardware())
        reported: list[Any] = []
        placed = strategy.build(placement, architecture, planned, checkpoint, reported.append)
        assert sorted(checkpoint.source.was_read) == sorted(checkpoint.tensors)  # type: ignore[attr-defined]
        progress = [value for value in reported if isinstance(value, Progress)]
        assert progress[-1].completed == progress[-1].total == len(planned)
        assert placed.placement == placement
        with placed.weights(planned) as weights:
            assert weights is not None
            assert {name: info.shape for name, info in weights.tensors.items()} == shapes()
            assert all(tuple(weights.read(name).shape) == shape for name, shape in shapes().items())
        events = list(placed.generator().generate([GenerationRequest(prompt=[1, 2], max_new_tokens=3)]))
        assert len(events) == 3
        assert strategy.hardware(placed).device_counts == strategy.hardware().device_counts
        placed.close()
        placed.close()
