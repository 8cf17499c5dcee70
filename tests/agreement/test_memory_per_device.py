"""Tests of the memory estimate per device, against the actual memory."""

from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.distribution.tensor_parallel.layers import parallelize
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.weights.loader import load_weights
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.memory.per_device import memory_per_device
from litgpt.domain.parallel.layer_split import assign_layers
from litgpt.domain.parallel.tensor_parallel import shard_model
from litgpt.domain.progress import null_reporter
from litgpt.domain.quantization import Quantization
from tests.agreement.models import Pair, Variant, pair
from tests.agreement.test_quantized import size_in_bytes

CPU = torch.device("cpu")
TOKENS = 24
ALONE: Any = None  # a rank asks its group only when it computes
WIDE: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 5}
VARIANTS = [
    Variant("llama", "llama", WIDE),
    Variant("tied", "llama", {**WIDE, "tie_word_embeddings": True}),
    Variant("experts", "mixtral", {"hidden_size": 128, "intermediate_size": 192}),
    Variant("biases", "gpt2"),
    Variant("latent", "deepseek_v3"),
]


@pytest.mark.parametrize("quantization", [None, "int8", "int4"])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_rank_holds_its_estimated_weights_and_cache(
    variant: Variant, ranks: int, quantization: Quantization | None, tmp_path: Path
) -> None:
    both = pair(variant, tmp_path)
    estimated = memory_per_device(
        both.actual.architecture,
        strategy="tensor_parallel",
        num_devices=ranks,
        dtype="float32",
        tokens=TOKENS,
        quantize=quantization,
    )
    for rank, expected in enumerate(estimated):
        model = rank_of(both, ranks, rank, quantization)
        assert size_in_bytes(model) == pytest.approx(expected.weights, rel=0.02)
        cache = KVCache.empty(
            model.architecture, max_length=TOKENS, device=CPU, dtype=torch.float32, fixed=True
        )
        assert cache.nbytes == expected.kv_cache


def rank_of(both: Pair, ranks: int, rank: int, quantization: Quantization | None) -> GPT:
    part = shard_model(both.actual.architecture, both.joins, world_size=ranks, rank=rank)
    return load_weights(
        parallelize(part, ALONE, GPT),
        part.sources,
        both.checkpoint,
        device=lambda _: CPU,
        dtype="float32",
        report=null_reporter,
        zeroed=part.zeroed,
        quantize=quantization,
    )


@pytest.mark.parametrize("quantization", [None, "int8"])
@pytest.mark.parametrize("variant", VARIANTS[:2], ids=lambda variant: variant.name)
def test_each_device_of_a_layer_split_holds_its_estimated_memory(
    variant: Variant, quantization: Quantization | None, tmp_path: Path
) -> None:
    both = pair(variant, tmp_path)
    architecture = both.actual.architecture
    estimated = memory_per_device(
        architecture,
        strategy="sequential",
        num_devices=3,
        dtype="float32",
        tokens=TOKENS,
        quantize=quantization,
    )
    placed = LayerSplit().build(
        Placement(
            devices=("cpu:0", "cpu:1", "cpu:2"), dtype="float32", strategy="sequential", quantize=quantization
        ),
        architecture,
        both.joins,
        both.checkpoint,
        null_reporter,
    )
    model = placed.network
    blocks = [*model.transformer["h"].children()]
    of_layer = assign_layers(architecture, 3)
    first, last = model.transformer["wte"], model.transformer["ln_f"]
    if (
        architecture.tie_word_embeddings
    ):  # then the head is with the embedding, and the norm before it as well
        outside = [size_in_bytes(first) + size_in_bytes(last), 0, 0]
    else:
        outside = [size_in_bytes(first), 0, size_in_bytes(last) + size_in_bytes(model.lm_head)]
    for device, expected in enumerate(estimated):
        its = sum(size_in_bytes(block) for block, at in zip(blocks, of_layer, strict=True) if at == device)
        assert its + outside[device] == pytest.approx(expected.weights, rel=0.02)
