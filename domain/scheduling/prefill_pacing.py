"""How much of the time prompts take from the answers that are running."""

import attrs

from litgpt.domain.scheduling.step_costs import StepCosts

_SHARE = 1.2
"""The time that each prompt may add to a step on average, relative to a step without prompts."""
_MAX_HELD_STEPS = 8
"""The longest that prompts wait for, in steps, so that they never depend on the end of running answers."""


@attrs.define(eq=False)
class PrefillPacing:
    """Lets prompts wait for some steps, so that the tokens of running answers keep coming.

    A step shared with a prompt takes as long as the processor, the model and the context make it. If it is
    too long, steps without prompts follow, until the mean time between two tokens of an answer is at most
    2.2 times that of steps without prompts with one prompt, 3.4 times with two, and so on. At most eight
    such steps follow each other.

    Attributes:
        costs: The measured time of the steps. Without measurements, prompts never wait.
        usual: The time of steps that compute no prompt. It includes those while prompts are held back, as
            it grows with the contexts of the answers, except the first one after a prompt, whose keys and
            values have replaced those of the answers in the processor's cache.
    """

    costs: StepCosts
    usual: StepCosts = attrs.field(factory=StepCosts, init=False)
    _total: float = attrs.field(default=0.0, init=False)
    _last: tuple[int, int] = attrs.field(default=(0, 0), init=False)
    _excess: float = attrs.field(default=0.0, init=False)
    _num_held: int = attrs.field(default=0, init=False)

    def allows_prompts(self, num_decoding: int, num_prompts: int) -> bool:
        """Return whether the next step may compute tokens of prompts; to be called once before each step."""
        seconds, self._total = self.costs.total - self._total, self.costs.total
        last_decoding, last_prompts = self._last
        self._last = num_decoding, num_prompts
        if last_decoding and seconds and (self._num_held > 1 or not last_prompts):
            self.usual.add(last_decoding, seconds)
        usual = self.usual.estimate(num_decoding)
        if not (num_decoding and num_prompts and usual):
            self._excess, self._num_held = 0.0, 0
            return True
        if last_decoding and last_prompts:
            limit = (1 + _SHARE * num_prompts) * usual
            self._excess = max(self._excess + seconds - limit, -limit)
        if self._num_held == _MAX_HELD_STEPS:
            self._excess = 0.0
        allows = self._excess <= 0
        self._num_held = 0 if allows else self._num_held + 1
        return allows
