"""Contract tests of the torch adapters."""

import mmap
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.adapters.pytorch.distribution.strategy import TorchStrategy
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.runtime.profiler import CpuProfiler
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import LLAMA, parse_config
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.progress import null_reporter
from litgpt.domain.weights.mapping import validate_mapping
from litgpt.testing import MemoryCheckpoint
from tests.adapters.tiny_models import tiny_folder
from tests.contracts.distribution_strategy import CONFIG, DistributionStrategyContract, shapes
from tests.contracts.generator import GeneratorContract
from tests.contracts.profiler import ProfilerContract


def random_checkpoint() -> MemoryCheckpoint:
    random = torch.Generator().manual_seed(0)
    return MemoryCheckpoint(
        CONFIG, {name: torch.randn(shape, generator=random) for name, shape in shapes().items()}
    )


class TestTorchStrategy(DistributionStrategyContract):
    @pytest.fixture
    def strategy(self) -> TorchStrategy:
        return TorchStrategy()

    @pytest.fixture
    def checkpoint(self) -> MemoryCheckpoint:
        return random_checkpoint()


class TestTorchGenerator(GeneratorContract):
    @pytest.fixture(params=[None, "max"])
    def generator(self, request: Any) -> TorchGenerator:
        checkpoint, architecture = random_checkpoint(), parse_config("tiny", CONFIG)
        joins = validate_mapping("tiny", architecture, LLAMA.weights, checkpoint.tensors)
        placement = Placement(devices=("cpu",), dtype="float32", kv_cache_size=request.param)
        placed = TorchStrategy().build(placement, architecture, joins, checkpoint, null_reporter)
        return placed.generator()


class TestCpuProfiler(ProfilerContract):
    @pytest.fixture
    def profiler(self) -> CpuProfiler:
        return CpuProfiler()

    def test_the_peak_sees_what_was_allocated_for_a_moment(self, profiler: CpuProfiler) -> None:
        profiler.reset_peak()
        before = profiler.peak_bytes()["cpu"]
        with mmap.mmap(-1, 64 << 20) as fresh:  # an allocator might hand out memory that is resident already
            for page in range(0, len(fresh), mmap.PAGESIZE):
                fresh[page] = 1
        assert profiler.peak_bytes()["cpu"] >= before + (60 << 20)


@pytest.mark.parametrize("family", ["llama", "qwen3_next"])
def test_an_answer_that_failed_within_a_step_leaves_no_half_written_prefix(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = LLM.load(tiny_folder(family), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true", engine="torch")
    generator = llm._generator()

    def ask(prompt: list[int], *, cache_prompt: bool = True) -> list[int]:
        request = GenerationRequest(
            prompt=prompt,
            max_new_tokens=4,
            sampling_params=SamplingParams(temperature=0),
            cache_prompt=cache_prompt,
        )
        return [event.token for event in generator.generate([request])]

    ids = list(range(5, 45))
    ask(ids)
    assert llm.model is not None
    with monkeypatch.context() as patch:

        def fails(*_: object) -> None:
            raise RuntimeError("out of memory")

        patch.setattr(list(llm.model.transformer["h"].children())[-1], "forward", fails)
        with pytest.raises(RuntimeError, match="not enough memory"):
            ask([*ids, 40, 41])
    assert ask([*ids, 42, 43]) == ask([*ids, 42, 43], cache_prompt=False)


def test_weights_that_were_written_take_no_prefix_of_the_earlier_ones() -> None:
    llm = LLM.load(tiny_folder("llama"), distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true", engine="torch")
    prompt = list(range(5, 45))

    def cached_tokens() -> int:
        request = GenerationRequest(prompt=prompt, max_new_tokens=2)
        return max(event.cached_tokens for event in llm._generator().generate([request]))

    assert [cached_tokens(), cached_tokens()] == [0, 39]
    assert llm.model is not None
    weight = llm.model.get_parameter("lm_head.weight")
    with torch.no_grad():
        weight.add_(1)
    assert cached_tokens() == 0
    llm.model.load_state_dict(llm.model.state_dict())
    assert cached_tokens() == 0
    assert cached_tokens() == 39
