"""Drafts from earlier text in the torch engine, for several answers at once."""

from pathlib import Path

import attrs
import pytest

from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from tests.agreement.models import VARIANTS, pair

PHRASE = [5, 9, 17, 3, 11, 29, 8]


def tokens(generator: TorchGenerator, requests: list[GenerationRequest]) -> tuple[list[list[int]], int]:
    """Return the tokens of each request, and how many of all were accepted from drafts."""
    found: list[list[int]] = [[] for _ in requests]
    drafted = [0] * len(requests)
    for event in generator.generate(requests):
        found[event.index].append(event.token)
        drafted[event.index] = event.draft_tokens
    return found, sum(drafted)


@pytest.mark.parametrize("temperature", [0.0, 0.4])
def test_answers_with_drafts_are_those_without(temperature: float, tmp_path: Path) -> None:
    generator = TorchGenerator(pair(next(it for it in VARIANTS if it.name == "llama"), tmp_path).actual)
    # With two tokens to choose from, answers repeat themselves.
    requests = [
        GenerationRequest(
            prompt=[at + 1, *PHRASE, *PHRASE],
            max_new_tokens=30 + 3 * at,
            sampling_params=SamplingParams(temperature=temperature, seed=at, allowed_token_ids=(5, 9 + at)),
        )
        for at in range(4)
    ]
    plain = [attrs.evolve(it, prompt_lookup_num_tokens=0) for it in requests]
    expected, none = tokens(generator, plain)
    found, drafted = tokens(generator, requests)
    assert found == expected
    assert none == 0 < drafted
