"""Log-probabilities of given tokens with the native engine."""

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.model import NativeModel, NativeSequence
from litgpt.adapters.native.sampling.candidates import Logits
from litgpt.adapters.native.sampling.packed_steps import STEP_TOKENS
from litgpt.adapters.native.sampling.sampler import log_probabilities, top_log_probabilities
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.memory.estimate import LOGITS_CHUNK
from litgpt.domain.scoring.collected_scores import CollectedScores
from litgpt.domain.scoring.prefix_groups import PrefixGroup, group_by_prefix
from litgpt.domain.scoring.request import ScoringRequest, TokenScores

_BLOCK = 16
"""The rows whose log-probabilities are computed together, so that their copies stay small."""


@attrs.define(eq=False)
class _Job:
    """Tokens of a sequence that are computed: a prefix of a group, or the rest of a request.

    Attributes:
        parent: A sequence of the first `begin` tokens; None: they are not computed.
        begin: The position of the next token to be computed.
        end: The position after the last one.
        request: The index of a request that has these tokens.
        group: The group whose prefix is computed; None: the tokens of `request` are scored.
    """

    parent: NativeSequence | None
    begin: int
    end: int
    request: int
    group: PrefixGroup | None = None
    sequence: NativeSequence | None = None


@attrs.define(eq=False)
class Scorer:
    """Computes the scores of requests in steps of a bounded number of tokens and logits.

    Prefixes are computed first, and their sequences forked. Jobs are taken from a stack, so that few prefixes
    are in memory at a time.
    """

    model: NativeModel
    requests: Sequence[ScoringRequest]
    _stack: list[_Job] = attrs.field(factory=list, init=False)
    _scores: CollectedScores = attrs.field(init=False)

    def run(self) -> list[TokenScores]:
        """Return the scores in the order of the requests.

        Raises:
            NonFiniteLogits: The logits of a request are NaN or infinite.
        """
        self._scores = CollectedScores(self.requests)
        for group in group_by_prefix(self.requests, self.model.rope_values):
            self._add(group, None)
        while self._stack:
            self._step()
        return self._scores.results()

    def _add(self, group: PrefixGroup, sequence: NativeSequence | None) -> None:
        """Add the jobs of a group whose prefix is computed; those added last are computed first."""
        for child in group.children:
            self._stack.append(_Job(sequence, group.end, child.end, child.first, child))
        for index in reversed(group.members):
            self._stack.append(_Job(sequence, group.end, len(self.requests[index].ids) - 1, index))

    def _step(self) -> None:
        needs_logits = self._needs_logits(self._stack[-1])
        budget = STEP_TOKENS
        if needs_logits:
            budget = min(budget, max(1, LOGITS_CHUNK // self.model.architecture.vocab_size))
        step: list[tuple[_Job, NativeSequence, Sequence[int]]] = []
        while self._stack and budget and self._needs_logits(self._stack[-1]) == needs_logits:
            job = self._stack.pop()
            if job.sequence is None:
                job.sequence, job.parent = self._open(job), None
            ids = self.requests[job.request].ids[job.begin : min(job.end, job.begin + budget)]
            step.append((job, job.sequence, ids))
            budget -= len(ids)
        self._compute(step, needs_logits=needs_logits)
        for job, sequence, ids in reversed(step):
            job.begin += len(ids)
            if job.begin < job.end:
                self._stack.append(job)
            elif job.group is not None:
                self._add(job.group, sequence)
            else:
                sequence.close()

    def _needs_logits(self, job: _Job) -> bool:
        return self.requests[job.request].top_logprobs > 0

    def _open(self, job: _Job) -> NativeSequence:
        if job.parent is not None:
            return job.parent.fork()
        longest = len(self.requests[job.request].ids) if job.group is None else job.group.longest
        return self.model.new_sequence(longest)

    def _compute(
        self, step: Sequence[tuple[_Job, NativeSequence, Sequence[int]]], *, needs_logits: bool
    ) -> None:
        rows: list[int] = []
        owners: list[int] = []
        targets: list[int] = []
        first = 0
        for job, _, ids in step:
            if job.group is None:
                request = self.requests[job.request]
                positions = request.predictors(job.begin, job.begin + len(ids))
                rows += [first + position - job.begin for position in positions]
                targets += [request.ids[position + 1] for position in positions]
                owners += [job.request] * len(positions)
            first += len(ids)
        batch = [(sequence, ids) for _, sequence, ids in step]
        if not needs_logits:
            logprobs, greedy = self.model.scores(batch, rows, targets)
            self._check_finite(owners, np.isnan(logprobs))
            self._scores.add(owners, logprobs.tolist(), greedy.astype(bool).tolist(), [None] * len(rows))
            return
        logits = self.model.step(batch, rows)
        for at in range(0, len(rows), _BLOCK):
            block = slice(at, at + _BLOCK)
            self._score(logits[block], targets[block], owners[block])

    def _score(self, logits: Logits, targets: Sequence[int], owners: Sequence[int]) -> None:
        largest = logits.max(-1)
        self._check_finite(owners, ~np.isfinite(largest))
        is_greedy = (logits[np.arange(len(targets)), list(targets)] >= largest).tolist()
        top = top_log_probabilities(logits, self._scores.top_counts(owners))
        self._scores.add(owners, log_probabilities(logits, targets), is_greedy, top)

    def _check_finite(self, owners: Sequence[int], is_bad: NDArray[np.bool_]) -> None:
        if bad := sorted({owners[row] for row in np.flatnonzero(is_bad).tolist()}):
            raise NonFiniteLogits(bad, len(self.requests))
