"""The random state and the token history of one request."""

import random
from collections.abc import Callable, Sequence

import attrs

from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.generation.token_history import TokenHistory


@attrs.define
class SamplerState:
    """The sampling parameters, the random state and the token history of one request.

    Attributes:
        params: The sampling parameters.
        random_seed: Returns the seed of a request that has none.
        prompt: The token ids of the prompt.
        stop_token_ids: Tokens that are not sampled before `min_tokens`.
        constraint: What the answer must match, at its beginning; the state uses a copy.
        history: The tokens so far; None if no parameter depends on them.
    """

    params: SamplingParams
    random_seed: Callable[[], int] = attrs.field(repr=False)
    prompt: Sequence[int] = attrs.field(default=(), repr=False)
    stop_token_ids: frozenset[int] = frozenset()
    constraint: TokenConstraint | None = attrs.field(default=None, repr=False)
    history: TokenHistory | None = attrs.field(default=None, init=False, repr=False)
    _uniform: random.Random = attrs.field(init=False, repr=False)
    _draws: list[float] = attrs.field(factory=list, init=False, repr=False)
    _next_draw: int = attrs.field(default=0, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        seed = self.params.seed
        if seed is None and not self.params.greedy:
            seed = self.random_seed()
        self._uniform = random.Random(seed)  # noqa: S311 - not cryptography
        if self.constraint is not None:
            self.constraint = self.constraint.copy()
        if self.params.changes_logits:
            self.history = TokenHistory.of_prompt(self.params, self.prompt)

    @property
    def is_finished(self) -> bool:
        """Whether the constraint allows no more tokens but the end."""
        return self.constraint is not None and self.constraint.is_finished

    def uniform(self) -> float:
        """Return the next random number in [0, 1)."""
        if self._next_draw == len(self._draws):
            self._draws.append(self._uniform.random())
        self._next_draw += 1
        return self._draws[self._next_draw - 1]

    def retry(self) -> None:
        """Let sampling the next token begin again with the same random numbers, after an error."""
        self._next_draw = 0

    def excludes_top_choices(self) -> bool:
        """Return whether XTC applies to the next token; it draws a random number only if XTC is enabled."""
        probability = self.params.xtc_probability
        return probability > 0 and not self.params.greedy and self.uniform() < probability

    def forced_tokens(self) -> Sequence[int]:
        """Return the next tokens, if sampling would return them for all logits.

        They may be appended after `skip_draws` each.
        """
        params = self.params
        may_fail = params.allowed_token_ids is not None or params.bad_words or params.logits_processor
        return () if self.constraint is None or may_fail else self.constraint.forced()

    def skip_draws(self) -> None:
        """Draw the random numbers with which the next token would be sampled."""
        if not self.params.greedy:
            self.uniform()
            self.excludes_top_choices()

    def append(self, token: int) -> None:
        """Add a token to the answer."""
        self._draws.clear()
        self._next_draw = 0
        if self.constraint is not None:
            self.constraint.advance(token)
        if self.history is not None:
            self.history.append(token)
