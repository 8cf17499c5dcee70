"""Tests of RoPE scaling that depends on the context length: batching and prefix reuse change no result."""

from typing import Any

import pytest
import torch

from litgpt.adapters.pytorch.distribution.layer_split import LayerSplit
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.families import family_of, parse_config
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.progress import null_reporter
from litgpt.domain.weights.mapping import validate_mapping
from litgpt.testing import MemoryCheckpoint
from tests.contracts.distribution_strategy import CONFIG, shapes

ORIGINAL = 16
DYNAMIC = {
    "max_position_embeddings": ORIGINAL,
    "rope_theta": 100.0,
    "rope_scaling": {"type": "dynamic", "factor": 4.0},
}
LONGROPE = {
    "original_max_position_embeddings": ORIGINAL,
    "rope_theta": 100.0,
    "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.0], "long_factor": [3.0, 9.0]},
}


@pytest.fixture(params=[DYNAMIC, LONGROPE], ids=["dynamic", "longrope"])
def generator(request: Any) -> TorchGenerator:
    random = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=random) for name, shape in shapes().items()}
    checkpoint = MemoryCheckpoint(CONFIG | request.param, weights)
    architecture = parse_config("tiny", checkpoint.config)
    joins = validate_mapping(
        "tiny", architecture, family_of("tiny", checkpoint.config).weights, checkpoint.tensors
    )
    placement = Placement(devices=("cpu",), dtype="float32")
    return LayerSplit().build(placement, architecture, joins, checkpoint, null_reporter).generator()


def greedy_request(tokens: int, max_new_tokens: int) -> GenerationRequest:
    """Return a greedy request with log-probabilities."""
    prompt = torch.randint(100, (tokens,), generator=torch.Generator().manual_seed(tokens)).tolist()
    return GenerationRequest(
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        sampling_params=SamplingParams(temperature=0),
        logprobs=True,
    )


def answers(generator: TorchGenerator, *requests: GenerationRequest) -> list[list[float]]:
    results: list[list[float]] = [[] for _ in requests]
    for event in generator.generate(requests):
        results[event.index] += [event.token, event.logprob or 0.0]
    return results


def test_rows_within_and_beyond_the_original_context_equal_each_alone(generator: TorchGenerator) -> None:
    requests = greedy_request(5, 4), greedy_request(20, 9), greedy_request(12, 20)
    alone = [answers(generator, request)[0] for request in requests]
    for row, expected in zip(answers(generator, *requests), alone, strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def test_a_text_growing_beyond_the_original_context_does_not_reuse_the_cache(
    generator: TorchGenerator,
) -> None:
    longer = greedy_request(44, 5)
    expected = answers(generator, longer)[0]
    generator.close()
    shorter = GenerationRequest(prompt=longer.prompt[:40], max_new_tokens=2)
    list(generator.generate([shorter]))
    assert answers(generator, longer)[0] == pytest.approx(expected, abs=1e-4)


def test_the_context_of_dynamic_ntk_is_the_scaled_one(generator: TorchGenerator) -> None:
    assert generator.context in (64, ORIGINAL * 4)
