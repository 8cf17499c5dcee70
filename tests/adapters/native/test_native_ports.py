"""Contract tests of the native engine's adapters, with a model of two layers."""

from typing import Any

import pytest
import torch

from litgpt.adapters.native.placed_model import NativePlacedModel
from litgpt.adapters.native.strategy import NativeStrategy
from litgpt.adapters.pytorch.distribution.placed_gpt import PlacedGPT
from litgpt.container import container
from litgpt.domain.distribution.placement import DistributeOptions, Placement, resolve_placement
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.families import LLAMA, parse_config
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.ports import DistributionStrategy, Generator, PlacedModel
from litgpt.domain.progress import Notice, Reporter, null_reporter
from litgpt.domain.weights.mapping import validate_mapping
from litgpt.testing import MemoryCheckpoint
from tests.contracts.distribution_strategy import CONFIG, DistributionStrategyContract, shapes
from tests.contracts.generator import GREEDY, GeneratorContract, tokens


def random_checkpoint() -> MemoryCheckpoint:
    random = torch.Generator().manual_seed(0)
    return MemoryCheckpoint(
        CONFIG, {name: torch.randn(shape, generator=random) for name, shape in shapes().items()}
    )


def build(report: Reporter = null_reporter, **options: Any) -> PlacedModel[Any]:
    """Place a model with the options of `distribute`."""
    strategy, checkpoint = container.strategy(), random_checkpoint()
    architecture = parse_config("tiny", CONFIG)
    sources = validate_mapping("tiny", architecture, LLAMA.weights, checkpoint.tensors)
    placement = resolve_placement(DistributeOptions(**options), strategy.hardware())
    return strategy.build(placement, architecture, sources, checkpoint, report)


def native(**options: Any) -> NativePlacedModel:
    placed = build(engine="native", **options)
    assert isinstance(placed, NativePlacedModel)
    return placed


class TestNativeStrategy(DistributionStrategyContract):
    @pytest.fixture
    def strategy(self) -> DistributionStrategy[Any]:
        strategy = container.strategy()
        assert isinstance(strategy, NativeStrategy)
        return strategy

    @pytest.fixture
    def checkpoint(self) -> MemoryCheckpoint:
        return random_checkpoint()

    @pytest.fixture
    def options(self) -> DistributeOptions:
        return DistributeOptions(accelerator="cpu", engine="native")


class TestTorchThroughNativeStrategy(TestNativeStrategy):
    @pytest.fixture
    def options(self) -> DistributeOptions:
        return DistributeOptions(accelerator="cpu", engine="torch")


class TestNativeGenerator(GeneratorContract):
    @pytest.fixture(params=["float32", "bfloat16", "int4", "int8 cache"])
    def generator(self, request: Any) -> Generator:
        options = {
            "float32": {"precision": "32-true"},
            "bfloat16": {"precision": "bf16-true"},
            "int4": {"quantize": "int4"},
            "int8 cache": {"precision": "32-true", "kv_cache": "int8"},
        }
        return native(**options[request.param]).generator()


def test_a_placement_selects_the_engine() -> None:
    assert isinstance(build(engine="torch"), PlacedGPT)
    assert isinstance(build(), NativePlacedModel)
    assert native().placement.engine == "native"


def test_the_instruction_set_threads_and_weights_are_reported() -> None:
    reported: list[object] = []
    build(reported.append, engine="native", quantize="int4")
    build(reported.append, engine="native")
    notices = [event.text for event in reported if isinstance(event, Notice)]
    assert len(notices) == 2
    assert notices[0].startswith("Using the native engine (")
    assert notices[0].endswith("), int4 weights")
    assert notices[1].endswith("), float32 weights")
    assert " thread" in notices[0]
    build(reported.append, engine="native", kv_cache="int8")
    assert isinstance(reported[-1], Notice)
    assert reported[-1].text.endswith("), float32 weights, int8 KV cache")


def test_float32_answers_equal_those_of_the_torch_engine() -> None:
    prompts = [[5, 6, 7], [9], list(range(20, 45))]
    requests = [
        GenerationRequest(prompt=prompt, max_new_tokens=20, sampling_params=GREEDY) for prompt in prompts
    ]
    expected = build(engine="torch", precision="32-true").generator()
    actual = native(precision="32-true").generator()
    for request in requests:
        assert tokens(actual.generate([request])) == tokens(expected.generate([request]))


def test_the_torch_network_is_built_when_it_is_needed_and_once() -> None:
    placed = native(precision="32-true", kv_cache="int8")
    assert placed.built_torch is None
    network = placed.network
    assert placed.network is network
    assert placed.built_torch is not None
    assert placed.built_torch.placement == Placement(devices=("cpu",), dtype="float32")


def test_the_memory_of_a_model_that_is_replaced_counts_as_free() -> None:
    placed, strategy = native(), container.strategy()
    assert placed.nbytes > 0
    available = strategy.hardware().available_host_memory
    with_it = strategy.hardware(placed).available_host_memory
    assert available is not None
    assert with_it is not None
    placed.close()
    assert placed.nbytes == 0
    assert strategy.hardware(placed).has_native_engine


def test_a_native_model_cannot_be_copied() -> None:
    import copy

    with pytest.raises(UnsupportedOperation, match="Load it again"):
        copy.deepcopy(native())
