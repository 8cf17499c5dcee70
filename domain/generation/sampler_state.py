"""The random state of one request."""

import random
from collections.abc import Callable

import attrs

from litgpt.domain.generation.sampling_params import SamplingParams


@attrs.define
class SamplerState:
    """The sampling parameters and the random state of one request.

    `random_seed` returns the seed of a request that has none.
    """

    params: SamplingParams
    random_seed: Callable[[], int] = attrs.field(repr=False)
    _uniform: random.Random = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        seed = self.params.seed
        if seed is None and not self.params.greedy:
            seed = self.random_seed()
        self._uniform = random.Random(seed)  # noqa: S311 - not cryptography

    def uniform(self) -> float:
        """Return the next random number in [0, 1)."""
        return self._uniform.random()
