"""The beam search of one prompt: which sequences are continued, and which are finished.

The rules are those of transformers' `generate(num_beams=…)`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import attrs

from litgpt.domain.beam_search.request import Beam, BeamSearchRequest


class Hypothesis(NamedTuple):
    """An unfinished sequence.

    Attributes:
        logprob: The sum of the log-probabilities of its tokens.
        parent: The index, in the previous step, of the sequence that it continues.
        tokens: Its tokens after the prompt.
    """

    logprob: float
    parent: int
    tokens: tuple[int, ...]


@attrs.define(eq=False)
class BeamSearch:
    """The sequences of one prompt.

    Attributes:
        request: The prompt and its parameters.
        max_new_tokens: The maximum length of a sequence, within the context.
        running: Unfinished sequences in descending order; none once the search has ended.
        finished: The best finished sequences in descending order.
    """

    request: BeamSearchRequest
    max_new_tokens: int
    running: list[Hypothesis] = attrs.field(factory=lambda: [Hypothesis(0.0, 0, ())])
    finished: list[Beam] = attrs.field(factory=list)

    def advance(self, likeliest: Sequence[Mapping[int, float]]) -> None:
        """Continue the running sequences by one token.

        Args:
            likeliest: After each running sequence, the log-probabilities of at least
                `request.num_candidates` tokens, unless the vocabulary is smaller.
        """
        num_beams, length = self.request.params.num_beams, len(self.running[0].tokens) + 1
        continued = [
            (hypothesis.logprob + logprob, token, parent)
            for parent, (hypothesis, tokens) in enumerate(zip(self.running, likeliest, strict=True))
            for token, logprob in tokens.items()
        ]
        # Among equal scores, the lowest token id comes first.
        continued.sort(key=lambda one: (-one[0], one[1], one[2]))
        candidates = [
            Hypothesis(logprob, parent, (*self.running[parent].tokens, token))
            for logprob, token, parent in continued[: self.request.num_candidates]
        ]
        ends = [self._ends(candidate) for candidate in candidates]
        best = zip(candidates[:num_beams], ends, strict=False)
        self._finish([candidate for candidate, is_end in best if is_end], length)
        self.running = [one for one, is_end in zip(candidates, ends, strict=True) if not is_end][:num_beams]
        if not self._can_improve(length):
            self.running = []

    def _ends(self, hypothesis: Hypothesis) -> bool:
        is_longest = len(hypothesis.tokens) == self.max_new_tokens
        return is_longest or hypothesis.tokens[-1] in self.request.stop_token_ids

    def _finish(self, ended: Sequence[Hypothesis], length: int) -> None:
        penalty: float = length**self.request.params.length_penalty
        self.finished += [Beam(one.tokens, one.logprob / penalty) for one in ended]
        self.finished.sort(key=lambda beam: -beam.score)
        del self.finished[self.request.params.num_beams :]

    def _can_improve(self, length: int) -> bool:
        """Return whether the best running sequence may replace the worst finished one."""
        params = self.request.params
        if not self.running or len(self.finished) < params.num_beams:
            return bool(self.running)
        if params.early_stopping is True:
            return False
        if params.early_stopping == "never" and params.length_penalty > 0:
            length = self.max_new_tokens
        best: float = self.running[0].logprob / length**params.length_penalty
        return best > self.finished[-1].score
