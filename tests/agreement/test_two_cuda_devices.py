"""Tests of every family on two CUDA devices with fake tensors: devices, dtypes and shapes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.generation.sampler import sample_candidates
from litgpt.adapters.pytorch.lora.model_adapters import ModelAdapters
from litgpt.adapters.pytorch.model import moe
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import resolve_model
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.lora.config import LoraConfig
from litgpt.domain.progress import null_reporter
from tests.adapters.fake_cuda import backward, fake_cuda
from tests.adapters.tiny_models import VOCAB_SIZE, tiny_model
from tests.agreement.models import VARIANTS, Variant

# One of each family: fake tensors take seconds for each.
FIRST = tuple({variant.family: variant for variant in reversed(VARIANTS)}.values())[::-1]
LENGTH = 24
ROWS = 3
DEVICES = {torch.device("cuda:0"), torch.device("cuda:1")}


@pytest.fixture(autouse=True)
def _experts_that_share_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the token counts of experts: fake tensors have no contents to count."""

    def evenly(chosen: Tensor, count: int) -> list[int]:
        return [len(chosen) * (i + 1) // count - len(chosen) * i // count for i in range(count)]

    monkeypatch.setattr(moe, "tokens_per_expert", evenly)


def steps(model: GPT) -> Iterator[Tensor]:
    """Process a left-padded prompt of several rows, and a decoding step of fewer rows."""
    ids = torch.zeros((ROWS, LENGTH), dtype=torch.long, device=model.input_device)
    cache = model.empty_cache(max_length=LENGTH, row_offsets=(0, 5, 9))
    with torch.no_grad():
        yield model(ids[:2, :7], cache, last_token_only=True)
        yield model(ids[:, 7:20], cache)
        cache.keep_rows([0, 2])
        yield model(ids[:2, 20:21], cache, last_token_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("variant", FIRST, ids=lambda variant: variant.name)
def test_every_tensor_is_on_the_device_of_its_operands(variant: Variant, tmp_path: Path) -> None:
    tiny_model(variant.family, **variant.settings).save_pretrained(tmp_path)
    checkpoint = open_hf_folder(tmp_path, variant.name)
    resolved = resolve_model(variant.name, checkpoint.config, checkpoint.tensors)
    placement = Placement(devices=("cuda:0", "cuda:1"), dtype="bfloat16")
    with fake_cuda():
        placed = LayerSplit().build(
            placement, resolved.architecture, resolved.sources, checkpoint, null_reporter
        )
        model = placed.network
        assert {parameter.device for parameter in (*model.parameters(), *model.buffers())} == DEVICES
        head = model.lm_head.weight.device
        for logits in steps(model):
            assert (logits.device, logits.dtype, logits.shape[-1]) == (head, torch.bfloat16, VOCAB_SIZE)
        learn(model.requires_grad_())
        adapters = ModelAdapters.from_model(model, resolved.sources, variant.family)
        adapters.add("one", LoraConfig(targets="all-linear"))
        assert all(logits.device == head for logits in steps(model))


def learn(model: GPT) -> None:
    """Run loss and backward; trained parameters must get gradients."""
    ids = torch.zeros((2, LENGTH), dtype=torch.long, device=model.input_device)
    for parameter in model.parameters():
        parameter.grad = None
    model.train()
    backward(model.loss(ids, ids))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.device == parameter.device, name
    model.eval()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tokens_are_drawn_where_the_logits_are(dtype: torch.dtype) -> None:
    sampling = [
        SamplingParams(temperature=temperature, top_k=top_k, top_p=top_p)
        for temperature in (0, 0.7)
        for top_k in (None, 5)
        for top_p in (0.5, 1.0)
    ]
    with fake_cuda():
        logits = torch.zeros((len(sampling), 3000), dtype=dtype, device="cuda:0")
        tokens = sample_candidates(logits, sampling, [0.5] * len(sampling), [False] * len(sampling))
        assert (tokens.device, tokens.dtype, tokens.shape) == (logits.device, torch.long, (len(sampling),))
