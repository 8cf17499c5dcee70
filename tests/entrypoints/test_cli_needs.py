"""What `litgpt info` counts is what the network in torch holds."""

import pytest
import torch

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.domain.families import describe
from litgpt.domain.footprint import cache_bytes, parameter_count
from tests.adapters.tiny_models import tiny_model

TOKENS = 40


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_weights_and_cache_are_those_of_the_network(family: str) -> None:
    architecture = describe(family, tiny_model(family).config.to_dict())
    with torch.device("meta"):
        network = GPT(architecture)
    assert parameter_count(architecture) == sum(one.numel() for one in network.parameters())
    cache = KVCache.empty(
        architecture, limit=TOKENS, device=torch.device("cpu"), dtype=torch.bfloat16, fixed=True
    )
    counted = cache_bytes(architecture, dtype="bfloat16", tokens=TOKENS)
    if all(layer.mixer.window is None for layer in architecture.layers):
        assert cache.nbytes == counted
    else:  # a windowed layer has room for twice its window, so as not to move what it keeps at every token
        assert counted < cache.nbytes < 2 * counted
