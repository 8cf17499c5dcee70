"""The changes that the sampling parameters of a batch make to its logits, as arrays for numpy and torch."""

from array import array
from collections.abc import Iterable, Sequence

import attrs

from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.token_history import TokenHistory

_EXCLUDE = float("-inf")


@attrs.define
class LogitEntries:
    """Some logits of a batch, (N,) by rows and token ids, with a value for each."""

    rows: "array[int]" = attrs.field(factory=lambda: array("q"))
    ids: "array[int]" = attrs.field(factory=lambda: array("q"))
    values: "array[float]" = attrs.field(factory=lambda: array("f"))

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, row: int, ids: Iterable[int], values: "array[float]") -> None:
        """Add one entry for each value."""
        self.rows.extend(array("q", [row]) * len(values))
        self.ids.extend(ids)
        self.values.extend(values)


@attrs.define
class LogitEdits:
    """The changes to the logits of a batch, in the order in which they are applied.

    Attributes:
        bias: `logit_bias`, added.
        allowed: `allowed_token_ids` by row; all other tokens are excluded.
        masks: The masks of constraints by row (see `TokenConstraint.mask`), applied with `allowed`.
        excluded: `bad_words`, and the tokens that constraints exclude without a mask. Added; -inf excludes a
            token.
        repetition: `repetition_penalty` of tokens of the prompt and the answer, which divides positive logits
            and multiplies negative ones.
        penalties: The frequency and presence penalties and DRY, in this order; added.
        min_tokens: Added; -inf excludes the stop tokens.
        processors: The histories, by row, of the requests with a `logits_processor`.
    """

    bias: LogitEntries = attrs.field(factory=LogitEntries)
    allowed: dict[int, "array[int]"] = attrs.field(factory=dict)
    masks: dict[int, bytes] = attrs.field(factory=dict)
    excluded: LogitEntries = attrs.field(factory=LogitEntries)
    repetition: LogitEntries = attrs.field(factory=LogitEntries)
    penalties: tuple[LogitEntries, LogitEntries] = attrs.field(
        factory=lambda: (LogitEntries(), LogitEntries())
    )
    min_tokens: LogitEntries = attrs.field(factory=LogitEntries)
    processors: dict[int, TokenHistory] = attrs.field(factory=dict)

    @classmethod
    def of_batch(cls, states: Sequence[SamplerState], vocab_size: int) -> "LogitEdits | None":
        """Return the changes of all rows, or None if there are none."""
        edits = None
        for row, state in enumerate(states):
            mask = frozenset[int]() if state.constraint is None else state.constraint.mask()
            if mask:
                edits = edits or cls()
                edits.add_mask(row, mask, vocab_size)
            if state.history is not None:
                edits = edits or cls()
                edits.add(row, state, state.history, vocab_size)
        return edits

    def add_mask(self, row: int, mask: bytes | frozenset[int], vocab_size: int) -> None:
        """Add what the constraint of one row excludes."""
        if isinstance(mask, bytes):
            self.masks[row] = mask
        else:
            _exclude(self.excluded, row, [token for token in mask if token < vocab_size])

    def add(self, row: int, state: SamplerState, history: TokenHistory, vocab_size: int) -> None:
        """Add the changes of one row."""
        params = state.params
        self.bias.add(row, *history.bias)
        if params.allowed_token_ids is not None:
            self.allowed[row] = history.allowed
        if params.bad_words:
            _exclude(self.excluded, row, history.excluded())
        if params.repetition_penalty != 1:
            penalty = array("f", [params.repetition_penalty]) * len(history.seen)
            self.repetition.add(row, history.seen, penalty)
        counts, dry = self.penalties
        counts.add(row, history.generated, history.penalties)
        if repeated := history.dry_penalties():
            dry.add(row, repeated, array("f", [-penalty for penalty in repeated.values()]))
        if history.num_generated < params.min_tokens:
            # A tokenizer may have more ids than the model has logits.
            _exclude(self.min_tokens, row, [token for token in state.stop_token_ids if token < vocab_size])
        if params.logits_processor:
            self.processors[row] = history


def _exclude(entries: LogitEntries, row: int, ids: Sequence[int]) -> None:
    entries.add(row, ids, array("f", [_EXCLUDE]) * len(ids))
