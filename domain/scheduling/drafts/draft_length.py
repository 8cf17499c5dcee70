"""How many tokens a draft model proposes: as many as pay, by what was accepted and what steps have taken."""

import attrs

from litgpt.domain.scheduling.step_costs import StepCosts

_LEAST_GAIN = 1.07
"""The speed with drafts, relative to that without, from which on they are proposed."""
_TRIAL_SHARE = 0.01
"""The share of the model's time for trials of drafts that have not been worth their time so far."""
_FIRST_CREDIT = 2.5
_FIRST_SHARE = 0.02
"""The time for the first trials, in steps, and the largest share of the first answer's time for them."""
_LEAST_CHUNK = 16
_MAX_CREDIT = 32.0
_MAX_DEBT = 4.0
"""The bounds of the budget for trials, in steps."""
_UNKNOWN_RATIO = 0.5
"""The time of a draft model's step, relative to one of the model, until it is measured."""


@attrs.define(eq=False)
class Acceptance:
    """Estimates the probability that the first token of a draft is accepted.

    Attributes:
        decay: The weight of earlier outcomes with each new one.
    """

    decay: float
    _accepted: float = attrs.field(default=0.0, init=False)
    _rejected: float = attrs.field(default=0.0, init=False)

    def update(self, *, is_accepted: bool) -> None:
        self._accepted = self.decay * self._accepted + is_accepted
        self._rejected = self.decay * self._rejected + (not is_accepted)

    def probability(self, prior: float = 0.0, weight: float = 1.0) -> float:
        """Return the estimate; `prior` is that without any outcome, and counts as `weight` tokens."""
        return (self._accepted + weight * prior) / (self._accepted + self._rejected + weight)


@attrs.define(eq=False)
class DraftBudget:
    """Decides how many tokens are proposed.

    Drafts are proposed if they are expected to save time. Until it is known, they are tried in a small share
    of the time, so that texts take about as long with a draft model that is of no use as without one. The
    time that they save is added to the budget.

    Attributes:
        target: The times of the model's steps.
        draft: The times of the draft model's steps.
        credit: The seconds for trials.
    """

    target: StepCosts
    draft: StepCosts
    credit: float = 0.0
    _target_total: float = attrs.field(default=0.0, init=False)
    _draft_total: float = attrs.field(default=0.0, init=False)
    _round: tuple[int, int] = attrs.field(default=(0, 0), init=False)
    _accepted: int = attrs.field(default=0, init=False)
    _reserved: float = attrs.field(default=0.0, init=False)
    _is_started: bool = attrs.field(default=False, init=False)

    def begin(self, num_sequences: int, max_tokens: int) -> bool:
        """Settle the round before, at the beginning of one that may propose tokens for some sequences.

        Returns whether the time of a step without drafts is known; otherwise, nothing can be proposed.

        Args:
            num_sequences: The number of sequences.
            max_tokens: The largest number of tokens that one of them may still get.
        """
        if not self.target.has_measured(num_sequences):
            return False
        before, proposed = self._round
        saved = _TRIAL_SHARE * (self.target.total - self._target_total)
        saved -= self.draft.total - self._draft_total
        if proposed > 0:
            saved += self._accepted * self.plain(before) / before - self._verification(before, proposed)
        self._target_total, self._draft_total = self.target.total, self.draft.total
        self._round, self._accepted, self._reserved = (num_sequences, 0), 0, 0.0
        step = self.plain(1)
        if not self._is_started:
            self._is_started, saved = True, min(_FIRST_CREDIT, _FIRST_SHARE * max_tokens) * step
        self.credit = min(max(self.credit + saved, -_MAX_DEBT * step), _MAX_CREDIT * step)
        return True

    def proposed(self, num_tokens: int) -> None:
        """Note the number of tokens that the round has proposed."""
        self._round = self._round[0], num_tokens

    def accepted(self, num_tokens: int) -> None:
        """Note that some of them were accepted."""
        self._accepted += num_tokens

    def plain(self, num_sequences: int) -> float:
        """Return the seconds of a step without drafts."""
        return self.target.estimate(num_sequences) or 0.0

    def draft_seconds(self, num_tokens: int) -> float:
        """Return the seconds in which the draft model computes some tokens in one step."""
        found = self.draft.estimate(num_tokens)
        return _UNKNOWN_RATIO * (self.target.estimate(num_tokens) or 0.0) if found is None else found

    def seconds_saved(self, acceptance: float) -> float:
        """Return the seconds that drafts save for each token; 0: they do not pay.

        Args:
            acceptance: The probability that the first token of a draft is accepted.
        """
        count = max(1, self._round[0])
        saved = self.plain(count) - self._seconds_per_token(acceptance)
        return saved / count if saved > (1 - 1 / _LEAST_GAIN) * self.plain(count) else 0.0

    def least_confidence(self, acceptance: float) -> float:
        """Return the probability of a draft so far from which on it pays to propose one more token."""
        count = max(1, self._round[0])
        cost = self.draft_seconds(count) + self._verification(count, 1)
        return cost / max(acceptance * self._seconds_per_token(acceptance), 1e-9)

    def _seconds_per_token(self, acceptance: float) -> float:
        """Return the seconds of a step that verifies one token for each sequence, over its tokens."""
        count = max(1, self._round[0])
        seconds = self.draft_seconds(count) + self.plain(count) + self._verification(count, count)
        return seconds / (1 + acceptance)

    def trial_size(self, num_pending: int) -> int:
        """Return how many pending tokens to compute for a trial of one token after all of them.

        Fewer than all, at least 16, are computed if the budget does not suffice; 0: wait.
        """
        verification = self._verification(max(1, self._round[0]), 1)
        while num_pending > 0:
            seconds = self.draft_seconds(num_pending) + verification
            if self._reserved + seconds <= self.credit:
                self._reserved += seconds
                return num_pending
            num_pending = num_pending // 2 if num_pending >= 2 * _LEAST_CHUNK else 0
        return 0

    def _verification(self, num_sequences: int, num_proposed: int) -> float:
        both = self.target.estimate(num_sequences + num_proposed) or 0.0
        return max(0.0, both - self.plain(num_sequences))
