"""Tests of non-finite logits: the error names the layer and the prompt, in a real network."""

from functools import partial

import pytest
import torch

from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder
from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import resolve_model
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.progress import null_reporter
from tests.adapters.tiny_models import tiny_folder


@pytest.fixture
def model() -> GPT:
    """Return a new network for each test, since tests damage it."""
    checkpoint = open_hf_folder(tiny_folder("llama"), "tiny")
    resolved = resolve_model("tiny", checkpoint.config, checkpoint.tensors)
    placement = Placement(devices=("cpu",), dtype="float32")
    placed = LayerSplit().build(placement, resolved.architecture, resolved.sources, checkpoint, null_reporter)
    for parameter in placed.network.parameters():
        parameter.data = parameter.data.clone()  # files are mapped
    return placed.network


request = partial(GenerationRequest, max_new_tokens=4, stop_token_ids=frozenset())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_damaged_weights_are_named(model: GPT, temperature: float) -> None:
    model.get_parameter("transformer.h.1.mlp.fc_1.weight").data[0, 0] = torch.nan
    bad_request = request(prompt=(5, 6, 7), sampling_params=SamplingParams(temperature=temperature))
    damaged = r"First occurrence: transformer\.h\.1\.mlp\.fc_1\.weight has NaN"
    with pytest.raises(NonFiniteLogits, match=damaged):
        next(TorchGenerator(model).generate([bad_request]))


def test_an_overflow_is_named(model: GPT) -> None:
    model.get_parameter("transformer.h.2.mlp.proj.weight").data.fill_(3e38)
    with pytest.raises(NonFiniteLogits, match=r"First occurrence: transformer\.h\.2\.mlp\.proj overflows"):
        next(TorchGenerator(model).generate([request(prompt=(5, 6, 7), sampling_params=SamplingParams())]))


def test_the_prompts_of_a_batch_are_named_and_hooks_are_gone(model: GPT) -> None:
    model.get_parameter("transformer.wte.weight").data[9] = torch.nan
    requests = [
        request(prompt=value, sampling_params=SamplingParams(seed=0))
        for value in ((5,), (6, 9), (7, 8, 6), (9, 5))
    ]
    with pytest.raises(NonFiniteLogits, match=r"for prompt 1, 3 ") as caught:
        list(TorchGenerator(model).generate(requests))
    assert list(caught.value.rows) == [1, 3]
    assert not any(module._forward_hooks for module in model.modules())


def test_a_kept_cache_forgets_keys_that_are_not_finite(model: GPT) -> None:
    weight = model.get_parameter("transformer.wte.weight")
    weight.data[9] = torch.nan
    generator, prompt = TorchGenerator(model), [5] * 40
    with pytest.raises(NonFiniteLogits):
        list(generator.generate([request(prompt=[*prompt, 9], sampling_params=SamplingParams(seed=0))]))
    weight.data[9] = 0.1
    again = request(prompt=[*prompt, 9, 7], sampling_params=SamplingParams(seed=0))
    assert [event.cached_tokens for event in generator.generate([again])] == [0] * 4
