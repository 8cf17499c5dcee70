"""How the next token is drawn."""

import attrs

from litgpt.domain.numeric import integer_field, real_field

_GREEDY_BELOW = 1e-5
"""The temperature under which only the likeliest token is left: neighboring float32 logits of usual size lie
further apart than this. vLLM draws the line at the same place."""


@attrs.frozen(kw_only=True)
class Sampling:
    """How to draw the next token from the logits: first top_k, then temperature, then top_p.

    Attributes:
        temperature: Divides the logits. 0, and anything below 1e-5, always takes the likeliest token.
        top_k: How many of the likeliest tokens to keep. None keeps every token.
        top_p: Keep the likeliest tokens until their probabilities sum to this. 0 takes the likeliest.
        seed: Makes the draw repeatable, whatever else is generated beside it. None draws a seed.

    """

    temperature: float = real_field(1.0, 0, "a finite number, 0 or greater")
    top_k: int | None = integer_field(None, 1, "a whole number from 1, or None", none=True)
    top_p: float = real_field(1.0, 0, "a number from 0 to 1", most=1)
    seed: int | None = integer_field(None, 0, "a whole number from 0, or None", none=True)

    @property
    def greedy(self) -> bool:
        """Whether these settings leave only the likeliest token."""
        return self.temperature < _GREEDY_BELOW or self.top_p == 0 or self.top_k == 1
