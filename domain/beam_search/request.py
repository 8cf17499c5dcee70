"""Requests of a Generator for beam search, and their results."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.validators import integer_field, real_field

EarlyStopping: TypeAlias = bool | Literal["never"]

MAX_BEAMS = 256
"""The beams of a prompt, which a step computes together."""
_MAX_PENALTY = 10.0


@attrs.frozen(kw_only=True)
class BeamSearchParams:
    """Parameters of beam search, as in transformers.

    Attributes:
        num_beams: The number of unfinished sequences that each step continues, from 1 to 256.
        length_penalty: The score of a sequence is the sum of the log-probabilities of its tokens, divided by
            its length to this power, from -10 to 10. Positive values favor long sequences.
        early_stopping: Whether to stop as soon as there are `num_beams` finished sequences. With False, the
            search goes on while a running sequence would score better if it ended now; with `never`, while
            it can score better at any length.
        num_return_sequences: The number of sequences that are returned, the best first.
    """

    num_beams: int = integer_field(4, 1)
    length_penalty: float = real_field(1.0, _MAX_PENALTY, least=-_MAX_PENALTY)
    early_stopping: EarlyStopping = attrs.field(default=False)
    num_return_sequences: int = integer_field(1, 1)

    @early_stopping.validator
    def _is_early_stopping(self, field: "attrs.Attribute[Any]", value: object) -> None:
        if not isinstance(value, bool) and value != "never":
            raise InvalidArgument(field.name, value, "True, False or 'never'")

    def __attrs_post_init__(self) -> None:
        if self.num_beams > MAX_BEAMS:
            raise InvalidArgument("num_beams", self.num_beams, f"an integer from 1 to {MAX_BEAMS}")
        if self.num_return_sequences > self.num_beams:
            expected = f"at most num_beams ({self.num_beams})"
            raise InvalidArgument("num_return_sequences", self.num_return_sequences, expected)


@attrs.frozen(kw_only=True)
class BeamSearchRequest:
    """One prompt and the parameters of its search.

    Attributes:
        prompt: Token ids, at least one.
        max_new_tokens: The maximum length of a sequence, which also ends at the context length.
        stop_token_ids: Tokens that finish a sequence, as its last token.
        params: The parameters of the search.
    """

    prompt: Sequence[int] = attrs.field(repr=False)
    max_new_tokens: int = integer_field(50, 1)
    stop_token_ids: frozenset[int] = frozenset()
    params: BeamSearchParams = attrs.field(factory=BeamSearchParams)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        if not self.prompt:
            raise InvalidArgument("prompt", self.prompt, "at least one token long")

    @property
    def num_candidates(self) -> int:
        """The continuations that a step selects: `num_beams` of them do not end with a stop token."""
        return max(2, 1 + len(self.stop_token_ids)) * self.params.num_beams


@attrs.frozen
class Beam:
    """A finished sequence.

    Attributes:
        tokens: The tokens after the prompt, with the stop token.
        score: See `BeamSearchParams.length_penalty`.
    """

    tokens: tuple[int, ...]
    score: float

    __repr__ = brief_repr
