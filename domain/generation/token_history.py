"""What the parameters of a request that change its logits need to know of its tokens."""

from array import array
from collections.abc import Sequence
from typing import Any

import attrs

from litgpt.domain.generation.dry import DryPenalties
from litgpt.domain.generation.sampling_params import SamplingParams


@attrs.define
class TokenHistory:
    """The tokens of a prompt and its answer; appending one takes constant time, except for DRY.

    The arrays are in the layout that numpy and torch read without a conversion.

    Attributes:
        token_ids: The prompt and the answer, if a parameter looks at the order of tokens.
        num_generated: The length of the answer.
        seen: The distinct tokens of the prompt and the answer, if there is a repetition penalty.
        generated: The distinct tokens of the answer, if there is a frequency or presence penalty.
        penalties: What these add to the logits of `generated`.
        bias: The token ids of `logit_bias` and its values.
        allowed: `allowed_token_ids`.
        processed: The logits that the processors have returned for the next token. They are called once for a
            token, also if it is sampled again because of another request.
    """

    params: SamplingParams
    token_ids: list[int] = attrs.field(factory=list, init=False)
    num_generated: int = attrs.field(default=0, init=False)
    seen: "array[int]" = attrs.field(factory=lambda: array("q"), init=False)
    generated: "array[int]" = attrs.field(factory=lambda: array("q"), init=False)
    penalties: "array[float]" = attrs.field(factory=lambda: array("f"), init=False)
    bias: "tuple[array[int], array[float]]" = attrs.field(init=False)
    allowed: "array[int]" = attrs.field(init=False)
    processed: Any = attrs.field(default=None, init=False, repr=False, eq=False)
    _dry: DryPenalties | None = attrs.field(default=None, init=False)
    _seen: set[int] = attrs.field(factory=set, init=False)
    _counts: dict[int, tuple[int, int]] = attrs.field(factory=dict, init=False)
    _bad_tokens: "array[int]" = attrs.field(init=False)
    _bad_sequences: dict[int, list[tuple[list[int], int]]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        params = self.params
        self.bias = (
            array("q", (token for token, _ in params.logit_bias)),
            array("f", (value for _, value in params.logit_bias)),
        )
        self.allowed = array("q", params.allowed_token_ids or ())
        self._bad_tokens = array("q", (sequence[0] for sequence in params.bad_words if len(sequence) == 1))
        for *before, last in params.bad_words:
            if before:
                self._bad_sequences.setdefault(before[-1], []).append((before, last))

    @classmethod
    def of_prompt(cls, params: SamplingParams, prompt: Sequence[int]) -> "TokenHistory":
        """Return the history before the first token of the answer."""
        history = cls(params)
        if params.repetition_penalty != 1:
            history._seen = set(prompt)
            history.seen = array("q", history._seen)
        if params.logits_processor or history._bad_sequences:
            history.token_ids = list(prompt)
        if params.dry_multiplier:
            history._dry = DryPenalties(
                params.dry_multiplier,
                params.dry_base,
                params.dry_allowed_length,
                frozenset(params.dry_breakers),
            )
            history._dry.extend(prompt)
        return history

    def append(self, token: int) -> None:
        """Add a token to the answer."""
        params = self.params
        self.processed = None
        self.num_generated += 1
        if params.repetition_penalty != 1 and token not in self._seen:
            self._seen.add(token)
            self.seen.append(token)
        if params.frequency_penalty or params.presence_penalty:
            self._count(token)
        if self.token_ids:
            self.token_ids.append(token)
        if self._dry is not None:
            self._dry.append(token)

    def dry_penalties(self) -> dict[int, float]:
        """Return the penalties of DRY for the next token."""
        return {} if self._dry is None else self._dry.penalties()

    def excluded(self) -> "array[int]":
        """Return the tokens that would complete one of the sequences of `bad_words`."""
        sequences = self._bad_sequences.get(self.token_ids[-1], ()) if self.token_ids else ()
        ends = [last for before, last in sequences if self.token_ids[-len(before) :] == before]
        return self._bad_tokens + array("q", ends)

    def _count(self, token: int) -> None:
        index, count = self._counts.get(token, (len(self.generated), 0))
        self._counts[token] = index, count + 1
        penalty = self.params.frequency_penalty * (count + 1) + self.params.presence_penalty
        if count:
            self.penalties[index] = -penalty
        else:
            self.generated.append(token)
            self.penalties.append(-penalty)
