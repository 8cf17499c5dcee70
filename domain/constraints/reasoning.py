"""Constraints on the answers of models that reason before they answer."""

from collections.abc import Callable, Sequence
from typing import Self

import attrs

from litgpt.domain.constraints.token_constraint import TokenConstraint, allow, exclude


@attrs.define(kw_only=True)
class AfterReasoning:
    """A constraint that begins after the reasoning; it implements `TokenConstraint`.

    Attributes:
        constraint: The constraint on the text after the reasoning.
        end: The text that ends the reasoning.
        begin_id: The token that begins reasoning, which the answer may begin with; None if it may not.
        in_reasoning: Whether the next token belongs to the reasoning.
        vocab_size: The number of tokens that the reasoning may have.
        stop_token_ids: Tokens that would end the answer, which the reasoning does not have.
        decoder: Returns a function from the tokens of a text, one after the other, to pieces of the text.
    """

    constraint: TokenConstraint
    end: str
    begin_id: int | None
    in_reasoning: bool
    vocab_size: int
    stop_token_ids: frozenset[int]
    decoder: Callable[[], Callable[[int], str]] = attrs.field(repr=False)
    _tail: str = attrs.field(default="", init=False)
    _decode: Callable[[int], str] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._decode = self.decoder()

    @property
    def is_finished(self) -> bool:
        return not self.in_reasoning and self.constraint.is_finished

    def mask(self) -> bytes:
        if self.in_reasoning:
            return exclude(b"\xff" * (self.vocab_size + 7 >> 3), self.stop_token_ids)
        mask = self.constraint.mask()
        return mask if self.begin_id is None else allow(mask, (self.begin_id,))

    def forced(self) -> Sequence[int]:
        may_choose = self.in_reasoning or self.begin_id is not None
        return () if may_choose else self.constraint.forced()

    def advance(self, token: int) -> None:
        begin_id, self.begin_id = self.begin_id, None
        if self.in_reasoning:
            self._tail += self._decode(token)
            self.in_reasoning = self.end not in self._tail
            self._tail = self._tail[-len(self.end) :]
        elif token == begin_id:
            self.in_reasoning = True
        else:
            self.constraint.advance(token)

    def copy(self) -> Self:
        """Return a copy of a constraint that has no tokens yet."""
        return attrs.evolve(self, constraint=self.constraint.copy())
