"""What needs a CUDA device. The rules about devices are tested without one, in tests/domain."""

from pathlib import Path

import pytest
import torch

from litgpt import LLM
from litgpt.adapters.pytorch.profiler import CudaProfiler
from tests.adapters.tiny_models import tiny_folder
from tests.contracts.profiler import ProfilerContract

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

PROMPTS = ["a", "a longer prompt than the first", "the third"]


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_a_model_says_on_cuda_what_it_says_on_the_cpu(family: str) -> None:
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


def test_auto_takes_the_gpu_and_a_benchmark_tells_its_memory(smollm2_gguf: Path) -> None:
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


class TestCudaProfiler(ProfilerContract):
    @pytest.fixture
    def profiler(self) -> CudaProfiler:
        return CudaProfiler()

    def test_the_peak_is_of_what_was_allocated_for_a_moment(self, profiler: CudaProfiler) -> None:
        profiler.reset_peak()
        torch.ones(64 << 20, dtype=torch.uint8, device="cuda")
        assert profiler.peak_bytes()["cuda:0"] >= 64 << 20
