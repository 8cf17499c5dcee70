"""Answers of models that reason before they answer: a budget of the reasoning, and a constraint after it."""

from collections.abc import Callable, Sequence
from typing import Self

import attrs

from litgpt.domain.constraints.token_constraint import TokenConstraint, allow

_LONGEST_CHARACTER = 4
"""The bytes of the longest character in UTF-8, each of which may be a token."""


@attrs.define(kw_only=True)
class ReasoningConstraint:
    """Ends the reasoning of an answer after a number of tokens; it implements `TokenConstraint`.

    Attributes:
        begin: The text that begins the reasoning.
        end: The text that ends it.
        header: The text that may stand before `begin`, if it is not the first of an answer; it is the header
            of a message in formats with channels.
        constraint: What follows the reasoning; None: any text, or further reasoning.
        budget: The largest number of tokens of the reasoning, besides its marks; None: any. A character that
            has begun is completed.
        end_ids: The tokens of the mark that ends the reasoning.
        begin_id: The token that begins reasoning, with which an answer with `constraint` may begin; None if
            it may not.
        in_reasoning: Whether the next token belongs to the reasoning.
        vocab_size: The number of tokens of the vocabulary.
        stop_token_ids: Tokens that would end the answer, which the reasoning does not have if there is a
            `constraint`.
        is_free: Whether the constraint begins with any text, which then includes reasoning and its marks.
        decoder: Returns a function from the tokens of a text, one after the other, to pieces of the text.
    """

    begin: str
    end: str
    header: str = ""
    constraint: TokenConstraint | None = None
    budget: int | None = None
    end_ids: tuple[int, ...]
    begin_id: int | None = None
    in_reasoning: bool
    vocab_size: int
    stop_token_ids: frozenset[int]
    is_free: bool = False
    decoder: Callable[[], Callable[[int], str]] = attrs.field(repr=False)
    _tail: str = attrs.field(default="", init=False)
    _may_reason: bool = attrs.field(default=True, init=False)
    _num_reasoning: int = attrs.field(default=0, init=False)
    _num_end_ids: int = attrs.field(default=0, init=False)
    _in_character: bool = attrs.field(default=False, init=False)
    _decode: Callable[[int], str] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._decode = self.decoder()

    @property
    def is_finished(self) -> bool:
        return not self.in_reasoning and self.constraint is not None and self.constraint.is_finished

    def mask(self) -> bytes | frozenset[int]:
        if self.in_reasoning and (ends := self.forced()):
            return allow(bytes(self.vocab_size + 7 >> 3), ends[:1])
        if self.constraint is None:
            return frozenset()
        if self.in_reasoning:
            return frozenset() if self.is_free else self.stop_token_ids
        mask = self.constraint.mask()
        return mask if self.begin_id is None else _allow_also(mask, self.begin_id)

    def forced(self) -> Sequence[int]:
        if self.in_reasoning:
            return self.end_ids[self._num_end_ids :] if self._is_exhausted() else ()
        if self.constraint is None or self.begin_id is not None:
            return ()
        return self.constraint.forced()

    def advance(self, token: int) -> None:
        begin_id, self.begin_id = self.begin_id, None
        if self.in_reasoning:
            self._reason(token)
        elif token == begin_id:
            self.in_reasoning = True
        else:
            if self.constraint is None or self.is_free:
                self._find_begin(token)
            if self.in_reasoning and self.constraint is not None:
                self.constraint = self.constraint.copy()  # its answer begins after the reasoning
            elif self.constraint is not None:
                self.constraint.advance(token)

    def copy(self) -> Self:
        """Return a copy of a constraint that has no tokens yet."""
        return attrs.evolve(self, constraint=None if self.constraint is None else self.constraint.copy())

    def _is_exhausted(self) -> bool:
        if self.budget is None:
            return False
        excess = self._num_reasoning - self.budget
        in_character = self._in_character and self._num_end_ids == 0  # a part of the mark may be invisible
        return excess >= _LONGEST_CHARACTER - 1 or (excess >= 0 and not in_character)

    def _reason(self, token: int) -> None:
        self._num_reasoning += 1
        if token == self.end_ids[self._num_end_ids]:
            self._num_end_ids += 1
        else:
            self._num_end_ids = int(token == self.end_ids[0])
        piece = self._decode(token)
        self._in_character = not piece
        self._tail += piece
        end = self.end
        if end in self._tail or self._num_end_ids == len(self.end_ids):
            self.in_reasoning, self._num_end_ids = False, 0
            self._tail = self._tail.partition(end)[2]
        else:
            self._tail = self._tail[-len(end) :]

    def _find_begin(self, token: int) -> None:
        """Look for the mark that begins reasoning, which only white space and reasoning may precede."""
        if not self._may_reason:
            return
        self._tail = (self._tail + self._decode(token)).lstrip()
        begins = (self.begin, self.header + self.begin)
        self._may_reason = any(begin.startswith(self._tail[: len(begin)]) for begin in begins)
        if begin := next(filter(self._tail.startswith, begins), None):
            self.in_reasoning, self._in_character = True, False
            self._tail = self._tail.removeprefix(begin)


def _allow_also(mask: bytes | frozenset[int], token: int) -> bytes | frozenset[int]:
    return allow(mask, (token,)) if isinstance(mask, bytes) else mask - {token}
