"""A mixer that no module of the library names needs its spec, its module and one line in `MIXERS`."""

from collections.abc import Iterator
from typing import Any, Self

import attrs
import pytest
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.block import MIXERS
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.ops.linear import Linear
from litgpt.domain.families import parse_config
from litgpt.domain.memory.estimate import estimate_memory, parameter_count
from litgpt.domain.memory.per_device import memory_per_device
from litgpt.domain.model import Architecture, CacheSpec, MixerSpec, ParameterSpec
from litgpt.domain.model.parameter_spec import linear
from litgpt.domain.model.sharding import Sharding, Split, even_range
from litgpt.domain.parallel.tensor_parallel import shard_model
from litgpt.domain.weights.mapping import ParameterSource
from tests.contracts.distribution_strategy import CONFIG


@attrs.frozen
class RunningMeanSpec(MixerSpec):
    """The running mean of `size` values, which are split over the ranks."""

    size: int
    num_kv_heads: int = 1

    @property
    def cache_spec(self) -> CacheSpec:
        return CacheSpec(num_kv_heads=1, k_head_dim=3)

    @property
    def activations_per_token(self) -> int:
        return 2 * self.size

    def parameters(self, name: str, hidden_size: int) -> Iterator[ParameterSpec]:
        split = (Split(self.size),)
        yield from linear(f"{name}.values", self.size, hidden_size, sharding=Sharding(0, split))
        yield from linear(f"{name}.out", hidden_size, self.size, bias=True, sharding=Sharding(1, split))

    def shard(self, world_size: int, rank: int) -> Self:
        first, last = even_range(self.size, world_size, rank)
        return attrs.evolve(self, size=last - first)


class RunningMean(nn.Module):
    def __init__(self, hidden_size: int, spec: RunningMeanSpec) -> None:
        super().__init__()
        self.values, self.out = Linear(hidden_size, spec.size, bias=False), Linear(spec.size, hidden_size)

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        counts = torch.arange(1, x.shape[1] + 1)[:, None]
        out: Tensor = self.out(self.values(x).cumsum(1) / counts)
        return out


@pytest.fixture
def architecture(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    mixers: dict[Any, Any] = MIXERS
    monkeypatch.setitem(mixers, RunningMeanSpec, RunningMean)
    of_llama = parse_config("x", CONFIG)
    layers = tuple(attrs.evolve(layer, mixer=RunningMeanSpec(size=7)) for layer in of_llama.layers)
    return attrs.evolve(of_llama, layers=layers)


def shapes(model: GPT) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}


def test_its_model_has_the_parameters_that_its_spec_states_and_runs(architecture: Architecture) -> None:
    model = GPT(architecture)
    assert shapes(model) == {spec.name: spec.shape for spec in architecture.parameters()}
    for tensor in model.parameters():
        nn.init.normal_(tensor)
    assert model(torch.tensor([[1, 2, 3]])).isfinite().all()


def test_its_memory_is_estimated(architecture: Architecture) -> None:
    estimate = estimate_memory(architecture, dtype="float32", tokens=5)
    assert estimate.weights == 4 * parameter_count(architecture)
    assert estimate.kv_cache == 4 * 5 * 3 * len(architecture.layers)


def test_each_rank_has_a_model_of_its_slices(architecture: Architecture) -> None:
    whole = [ParameterSource(parameter, ()) for parameter in architecture.parameters()]
    ranks = [shard_model(architecture, whole, world_size=2, rank=rank) for rank in range(2)]
    for rank, size in zip(ranks, (3, 4), strict=True):
        actual = {name: shape for name, shape in shapes(GPT(rank.architecture)).items() if ".h." in name}
        assert actual == {
            source.parameter.name: source.parameter.shape
            for source in rank.sources
            if ".h." in source.parameter.name
        }
        assert actual["transformer.h.0.attn.values.weight"][0] == size
    assert {name.rpartition("attn.")[2] for name in ranks[1].zeroed if "attn" in name} == {"out.bias"}
    sizes = memory_per_device(
        architecture, strategy="tensor_parallel", num_devices=2, dtype="float32", tokens=5
    )
    assert sizes[0].weights < sizes[1].weights
