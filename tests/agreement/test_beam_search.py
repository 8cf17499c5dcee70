"""Tests of beam search for every family, by both engines, against transformers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.domain.beam_search.request import MAX_BEAMS, Beam, BeamSearchParams, BeamSearchRequest
from tests.agreement.models import VARIANTS, Pair, Variant, pair, random_ids
from tests.agreement.test_scoring import engines
from tests.agreement.test_tensor_parallel import Meeting, on_all_ranks, rank_of

STOPS = frozenset(range(20, 40))
"""Enough of the vocabulary for sequences to end at any length."""

SEARCHES: tuple[dict[str, Any], ...] = (
    {},
    {"length_penalty": 0.0},
    {"length_penalty": 2.0, "num_return_sequences": 4},
    {"length_penalty": -1.0},
    {"early_stopping": True, "num_return_sequences": 3},
    {"early_stopping": "never"},
    {"early_stopping": "never", "length_penalty": -0.5},
    {"num_beams": 7, "num_return_sequences": 7},
)


def request(prompt: Sequence[int], stops: frozenset[int] = STOPS, **params: Any) -> BeamSearchRequest:
    return BeamSearchRequest(
        prompt=prompt, max_new_tokens=9, stop_token_ids=stops, params=BeamSearchParams(**params)
    )


def expected_beams(both: Pair, search: BeamSearchRequest) -> list[Beam]:
    ids = torch.tensor([list(search.prompt)])
    both.expected(ids[:, :1])  # transformers keeps dynamic frequencies of longer texts until a short one
    found = both.reference.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        num_beams=search.params.num_beams,
        length_penalty=search.params.length_penalty,
        early_stopping=search.params.early_stopping,
        num_return_sequences=search.params.num_return_sequences,
        max_new_tokens=search.max_new_tokens,
        eos_token_id=sorted(search.stop_token_ids) or None,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_scores=True,
    )
    sequences = []
    for row, indices in zip(found.sequences.tolist(), found.beam_indices.tolist(), strict=True):
        length = sum(index >= 0 for index in indices)
        sequences.append(tuple(row[len(search.prompt) : len(search.prompt) + length]))
    return [Beam(*one) for one in zip(sequences, found.sequences_scores.tolist(), strict=True)]


def assert_beams(actual: Sequence[Beam], expected: Sequence[Beam]) -> None:
    for beam, other in zip(actual, expected, strict=True):
        assert beam.score == pytest.approx(other.score, abs=1e-4)
        # Sequences of a tiny model that repeat tokens may have equal scores.
        assert beam.tokens == other.tokens or beam.score == pytest.approx(other.score, abs=1e-6)


# transformers does not reorder the states of these with the beams.
NOT_REORDERED = {"minimax", "recurrent_gemma"}
REORDERED = [variant for variant in VARIANTS if variant.family not in NOT_REORDERED]


@pytest.mark.parametrize("variant", REORDERED, ids=lambda variant: variant.name)
def test_beams_of_both_engines_are_those_of_transformers(variant: Variant, tmp_path: Path) -> None:
    both = pair(variant, tmp_path)
    # With LongRoPE, transformers rotates keys in two ways if a text grows beyond the original context.
    longest = 18 if "LongRoPE" in variant.name else 13
    prompts = [ids[:length] for ids, length in zip(random_ids(3, 18).tolist(), (longest, 5, 1), strict=True)]
    searches = [request(prompt, num_return_sequences=4) for prompt in prompts]
    expected = [expected_beams(both, search) for search in searches]
    for generator in engines(both):
        for beams, reference in zip(generator.beam_search(searches), expected, strict=True):
            assert_beams(beams, reference)


@pytest.mark.parametrize("params", SEARCHES, ids=str)
def test_parameters_are_those_of_transformers(params: dict[str, Any], tmp_path: Path) -> None:
    both = pair(next(each for each in VARIANTS if each.name == "llama"), tmp_path)
    generators = engines(both)
    for stops in (STOPS, frozenset[int](), frozenset({7})):
        searches = [request(prompt, stops, **params) for prompt in random_ids(3, 6).tolist()]
        expected = [expected_beams(both, search) for search in searches]
        for generator in generators:
            for beams, reference in zip(generator.beam_search(searches), expected, strict=True):
                assert_beams(beams, reference)


def test_all_beams_are_the_likeliest_of_all_sequences(tmp_path: Path) -> None:
    both = pair(next(each for each in VARIANTS if each.name == "llama"), tmp_path)
    prompt, vocab_size = random_ids(1, 5)[0].tolist(), both.actual.architecture.vocab_size
    first = both.expected(torch.tensor([prompt]))[0, -1].log_softmax(-1)
    pairs = torch.tensor([[*prompt, token] for token in range(vocab_size)])
    sums = first[:, None] + both.expected(pairs)[:, -1].log_softmax(-1)
    likeliest = [divmod(index, vocab_size) for index in sums.flatten().topk(5).indices.tolist()]
    search = BeamSearchRequest(
        prompt=prompt,
        max_new_tokens=2,
        params=BeamSearchParams(num_beams=MAX_BEAMS, num_return_sequences=5, length_penalty=0),
    )
    for generator in engines(both):
        assert [beam.tokens for beam in generator.beam_search([search])[0]] == likeliest


def test_beams_of_ranks_are_those_of_transformers(tmp_path: Path) -> None:
    both, meeting = pair(next(each for each in VARIANTS if each.name == "llama"), tmp_path), Meeting(2)
    models = [rank_of(both, meeting, rank) for rank in range(2)]
    search = request(random_ids(1, 6)[0].tolist(), num_return_sequences=2)
    expected = expected_beams(both, search)
    found: list[list[Beam]] = [[], []]

    def work(rank: int) -> torch.Tensor:
        found[rank] = TorchGenerator(models[rank]).beam_search([search])[0]
        return torch.zeros(())

    on_all_ranks(2, work)
    for beams in found:
        assert_beams(beams, expected)
        assert all(math.isfinite(beam.score) for beam in beams)
