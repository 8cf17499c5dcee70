"""Sequences of a beam search in the native engine, which share the pages of what they have in common."""

from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from litgpt.adapters.native.model import NativeModel, NativeSequence
from litgpt.adapters.native.sampling.candidates import Logits
from litgpt.adapters.native.sampling.packed_steps import packed_steps
from litgpt.adapters.native.sampling.sampler import top_log_probabilities
from litgpt.domain.generation.errors import NonFiniteLogits


@attrs.define(eq=False)
class NativeBeams:
    """Implements `BeamBatch`."""

    model: NativeModel
    _sequences: list[NativeSequence] = attrs.field(factory=list, init=False)

    def start(
        self, prompts: Sequence[Sequence[int]], lengths: Sequence[int], count: int
    ) -> list[Mapping[int, float]]:
        self.close()
        self._sequences = [self.model.new_sequence(length) for length in lengths]
        logits: list[Logits] = []
        for step in packed_steps([len(prompt) for prompt in prompts]):
            batch = [(self._sequences[index], prompts[index][begin:end]) for index, begin, end in step]
            last = np.cumsum([end - begin for _, begin, end in step]) - 1
            ends = [end == len(prompts[index]) for index, _, end in step]
            logits.append(self.model.step(batch, last[ends].tolist()))
        return _likeliest(np.concatenate(logits), count)

    def step(self, parents: Sequence[int], tokens: Sequence[int], count: int) -> list[Mapping[int, float]]:
        taken: set[int] = set()
        sequences = []
        for parent in parents:  # the first sequence that continues another takes it over
            sequence = self._sequences[parent]
            sequences.append(sequence.fork() if parent in taken else sequence)
            taken.add(parent)
        for index, sequence in enumerate(self._sequences):
            if index not in taken:
                sequence.close()
        self._sequences = sequences
        batch = [(sequence, [token]) for sequence, token in zip(self._sequences, tokens, strict=True)]
        return _likeliest(self.model.step(batch), count)

    def close(self) -> None:
        for sequence in self._sequences:
            sequence.close()
        self._sequences = []


def _likeliest(logits: Logits, count: int) -> list[Mapping[int, float]]:
    if bad := np.flatnonzero(~np.isfinite(logits.max(-1))).tolist():
        raise NonFiniteLogits(bad, len(logits))
    return [top for top in top_log_probabilities(logits, [count] * len(logits)) if top is not None]
