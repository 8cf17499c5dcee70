"""Tests that need a CUDA device. The device rules are tested without one, in tests/domain."""

from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore, is_nccl_available  # type: ignore[attr-defined] # public

from litgpt import LLM
from litgpt.adapters.pytorch.distribution.tensor_parallel.nccl import NcclCommunicator, nccl_communicator
from litgpt.adapters.pytorch.distribution.tensor_parallel.rank0 import Rank0GPT
from litgpt.adapters.pytorch.runtime.profiler import CudaProfiler
from litgpt.domain.generation.errors import WorkerLost
from tests.adapters.tiny_models import tiny_folder
from tests.contracts.profiler import ProfilerContract

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

PROMPTS = ["a", "a longer prompt than the first", "the third"]


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_answers_on_cuda_equal_those_on_the_cpu(family: str) -> None:
    logits, answers = [], []
    for accelerator in ("cpu", "cuda"):
        with LLM.load(tiny_folder(family), distribute=None, quiet=True) as llm:
            llm.distribute(accelerator=accelerator, precision="32-true")
            with torch.inference_mode():
                ids = torch.arange(60, device=llm.preprocessor.device)[None]
                logits.append(llm(ids).cpu())
            answers.append(llm.generate(PROMPTS, seed=1, max_new_tokens=20))
    assert (logits[0] - logits[1]).abs().max() <= 1e-3 * logits[0].abs().max()
    assert answers[0] == answers[1]


def test_auto_selects_the_gpu_and_a_benchmark_reports_its_memory(smollm2_gguf: Path) -> None:
    with LLM.load(smollm2_gguf, quiet=True) as llm:
        assert llm.preprocessor.device == "cuda:0"
        text, figures = llm.benchmark(prompt="What is the capital of France?", top_k=1)
        assert "Paris" in text
        assert figures["Total GPU memory allocated in GB"][0] > 0.2


def test_closing_gives_the_memory_back() -> None:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    with LLM.load(tiny_folder("llama"), quiet=True) as llm:
        llm.generate("x")
        assert torch.cuda.memory_allocated() > before
    assert torch.cuda.memory_allocated() == before


@pytest.mark.skipif(not is_nccl_available(), reason="torch was built without NCCL")
def test_a_single_rank_reduces_by_nccl_without_the_default_process_group() -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    group = nccl_communicator(store, rank=0, world_size=1, timeout_seconds=60, device=torch.device("cuda:0"))
    on_the_card, here = torch.ones(3, device="cuda:0"), torch.ones(3)
    assert torch.equal(group.all_reduce(on_the_card), on_the_card)
    assert torch.equal(group.all_reduce(here), here)
    assert torch.equal(group.all_gather(on_the_card, [3]), on_the_card)
    group.synchronize()
    group.abort()
    with pytest.raises(RuntimeError, match="another rank is gone"):
        group.synchronize()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two CUDA devices here")
def test_ranks_on_separate_gpus_equal_one_gpu_and_a_killed_rank_is_an_error() -> None:
    with LLM.load(tiny_folder("llama"), distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cuda", precision="32-true")
        expected = llm.generate(PROMPTS, top_k=1, max_new_tokens=20)
        llm.distribute("cuda", 2, "32-true", generate_strategy="tensor_parallel")
        assert llm.generate(PROMPTS, top_k=1, max_new_tokens=20) == expected
        assert isinstance(llm.model, Rank0GPT)
        assert isinstance(llm.model.communicator, NcclCommunicator)
        llm.model.pool.workers[0].process.kill()
        with pytest.raises(WorkerLost, match="rank 1"):
            [llm.generate("x", max_new_tokens=1) for _ in range(200)]


class TestCudaProfiler(ProfilerContract):
    @pytest.fixture
    def profiler(self) -> CudaProfiler:
        return CudaProfiler()

    def test_the_peak_is_of_what_was_allocated_for_a_moment(self, profiler: CudaProfiler) -> None:
        profiler.reset_peak()
        torch.ones(64 << 20, dtype=torch.uint8, device="cuda")
        assert profiler.peak_bytes()["cuda:0"] >= 64 << 20
