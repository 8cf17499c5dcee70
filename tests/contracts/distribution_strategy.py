"""What every DistributionStrategy promises: each adapter, and the fake, passes these tests."""

from typing import Any

import pytest

from litgpt.domain.families import LLAMA, describe
from litgpt.domain.generation import Request
from litgpt.domain.parameters import parameters
from litgpt.domain.placement import Wish, decide
from litgpt.domain.ports import Checkpoint, DistributionStrategy
from litgpt.domain.reporting import Progress
from litgpt.domain.weights import plan

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
    """Return the tensors of a checkpoint with this config."""
    rules = {rule.ours: rule for rule in LLAMA.weights}
    found = {}
    for parameter in parameters(describe("tiny", CONFIG)):
        generic, layer = parameter.name, ""
        if parameter.name.startswith("transformer.h."):
            layer = parameter.name.split(".")[2]
            generic = parameter.name.replace(f".h.{layer}.", ".h.{}.", 1)
        for name, rows in zip(rules[generic].theirs, parameter.rows, strict=True):
            found[name.replace("{}", layer)] = (rows, *parameter.shape[1:])
    return found


class DistributionStrategyContract:
    """Subclass it, and give it a strategy, and a checkpoint of `CONFIG` with tensors that it takes."""

    @pytest.fixture
    def strategy(self) -> DistributionStrategy[Any, Any]:
        raise NotImplementedError

    @pytest.fixture
    def checkpoint(self) -> Checkpoint[Any]:
        raise NotImplementedError

    def test_there_is_hardware_and_the_best_of_it_exists(
        self, strategy: DistributionStrategy[Any, Any]
    ) -> None:
        hardware = strategy.hardware()
        assert hardware.counts[hardware.accelerator] >= 1
        assert hardware.counts["cpu"] == 1

    def test_a_model_is_built_with_each_tensor_read_once_and_then_generates(
        self, strategy: DistributionStrategy[Any, Any], checkpoint: Checkpoint[Any]
    ) -> None:
        architecture = describe("tiny", CONFIG)
        joins = plan("tiny", architecture, LLAMA.weights, checkpoint.tensors)
        placement = decide(Wish(accelerator="cpu"), strategy.hardware())
        reported: list[Any] = []
        model = strategy.build(placement, architecture, joins, checkpoint, reported.append)
        assert sorted(checkpoint.was_read) == sorted(checkpoint.tensors)  # type: ignore[attr-defined]
        progress = [one for one in reported if isinstance(one, Progress)]
        assert progress[-1].done == progress[-1].total == len(joins)
        weights = strategy.weights(model, joins)
        assert {name: info.shape for name, info in weights.tensors.items()} == shapes()
        assert all(tuple(weights.read(name).shape) == shape for name, shape in shapes().items())
        assert {name for name, _ in weights.parameters()} == {join.parameter.name for join in joins}
        events = list(
            strategy.generator(model, placement).generate([Request(prompt=[1, 2], max_new_tokens=3)])
        )
        assert len(events) == 3
