"""Run the beam searches of several prompts in the steps of an engine."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Protocol

import attrs

from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
from litgpt.domain.beam_search.search import BeamSearch
from litgpt.domain.generation.batching import MAX_SEQUENCES
from litgpt.domain.generation.errors import NonFiniteLogits


class BeamBatch(Protocol):
    """The KV caches of sequences, which an engine computes in one batch.

    Its methods return, for each sequence, the `count` likeliest tokens after it with their log-probabilities.
    Among equal ones, the lowest token ids count as the likeliest.

    Raises:
        NonFiniteLogits: The logits after a sequence are NaN or infinite; `rows` are its indices.
    """

    def start(
        self, prompts: Sequence[Sequence[int]], lengths: Sequence[int], count: int
    ) -> Sequence[Mapping[int, float]]:
        """Compute prompts, whose sequences will have at most `lengths` tokens."""
        ...

    def step(
        self, parents: Sequence[int], tokens: Sequence[int], count: int
    ) -> Sequence[Mapping[int, float]]:
        """Replace all sequences: each new one is the sequence at an index of `parents`, and a token."""
        ...

    def close(self) -> None:
        """Free the KV caches."""
        ...


def run_beam_search(
    batch: BeamBatch, requests: Sequence[BeamSearchRequest], context: int
) -> list[list[Beam]]:
    """Return the best sequences of each request, the best first.

    As many prompts are searched together as `MAX_SEQUENCES` sequences are enough for.

    Args:
        batch: The engine, without sequences.
        requests: Any number of prompts that are shorter than the context.
        context: The largest number of tokens of a prompt and its continuation.
    """
    waiting = iter(enumerate(requests))
    results: list[list[Beam]] = []
    with closing(batch):
        while len(results) < len(requests):
            most = max(1, MAX_SEQUENCES // requests[len(results)].params.num_beams)
            searches = [
                BeamSearch(one, min(one.max_new_tokens, context - len(one.prompt)))
                for _, one in islice(waiting, most)
            ]
            _search(batch, searches, first=len(results), num_prompts=len(requests))
            results += [one.finished[: one.request.params.num_return_sequences] for one in searches]
    return results


def _search(batch: BeamBatch, searches: Sequence[BeamSearch], *, first: int, num_prompts: int) -> None:
    """Search until no sequence is running; `first` is the number of prompts before these."""
    count = max(search.request.num_candidates for search in searches)
    prompts = [search.request.prompt for search in searches]
    lengths = [len(search.request.prompt) + search.max_new_tokens for search in searches]
    owners = list(range(len(searches)))  # the search of each sequence
    try:
        likeliest = batch.start(prompts, lengths, count)
        while owners:
            parents: list[int] = []
            tokens: list[int] = []
            row, continued = 0, []
            for owner, search in enumerate(searches):
                size = len(search.running)
                if size:
                    search.advance(likeliest[row : row + size])
                parents += [row + one.parent for one in search.running]
                tokens += [one.tokens[-1] for one in search.running]
                continued += [owner] * len(search.running)
                row += size
            owners = continued
            if owners:
                likeliest = batch.step(parents, tokens, count)
    except NonFiniteLogits as error:
        rows = sorted({first + owners[row] for row in error.rows})
        raise attrs.evolve(error, rows=rows, num_prompts=num_prompts) from None
