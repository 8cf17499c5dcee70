"""Tests of the memory that `litgpt info` reports, against the torch model."""

import pytest
import torch

from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.families import parse_config
from litgpt.domain.memory.estimate import kv_cache_bytes, parameter_count
from tests.adapters.tiny_models import tiny_model

TOKENS = 40


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_weights_and_cache_are_those_of_the_network(family: str) -> None:
    architecture = parse_config(family, tiny_model(family).config.to_dict())
    with torch.device("meta"):
        network = GPT(architecture)
    assert parameter_count(architecture) == sum(parameter.numel() for parameter in network.parameters())
    cache = KVCache.empty(
        architecture, max_length=TOKENS, device=torch.device("cpu"), dtype=torch.bfloat16, fixed=True
    )
    counted = kv_cache_bytes(architecture, dtype="bfloat16", tokens=TOKENS)
    if all(layer.mixer.sliding_window is None for layer in architecture.layers):
        assert cache.nbytes == counted
    else:  # a windowed layer reserves twice its window, so that entries are not moved at each token
        assert counted < cache.nbytes < 2 * counted
