"""DRY: penalties for tokens that would extend a repetition of earlier text."""

from collections.abc import Sequence

import attrs

_MAX_PENALTY = 1e30
"""Penalties stay finite in float32, so that they never exclude every token."""


@attrs.define
class DryPenalties:
    """The penalties of the next token, updated token by token.

    A match is an earlier part of the text that equals its end. The token that followed it would extend the
    repetition; its penalty depends on the longest match before it. No match contains a breaker.

    Attributes:
        multiplier, base, allowed_length: See `SamplingParams.dry_multiplier`.
        breakers: Tokens that no match contains, and that are not penalized.
    """

    multiplier: float
    base: float
    allowed_length: int
    breakers: frozenset[int]
    _tokens: list[int] = attrs.field(factory=list, init=False)
    _positions: dict[int, list[int]] = attrs.field(factory=dict, init=False)
    _lengths: dict[int, int] = attrs.field(factory=dict, init=False)

    def extend(self, tokens: Sequence[int]) -> None:
        """Add the tokens of a prompt to an empty text, in linear time."""
        self._tokens = list(tokens)
        for position, token in enumerate(tokens):
            self._positions.setdefault(token, []).append(position)
        backward = self._tokens[::-1]
        whole = next((at for at, token in enumerate(backward) if token in self.breakers), len(backward))
        last = len(backward) - 1
        self._lengths = {
            last - at: min(length, whole)
            for at, length in enumerate(_prefix_lengths(backward))
            if at and length and whole
        }

    def append(self, token: int) -> None:
        """Add a token to the text."""
        earlier = () if token in self.breakers else self._positions.get(token, ())
        before = self._lengths
        self._lengths = {position: before.get(position - 1, 0) + 1 for position in earlier}
        self._positions.setdefault(token, []).append(len(self._tokens))
        self._tokens.append(token)

    def penalties(self) -> dict[int, float]:
        """Return the penalty of each token that would extend a repetition."""
        longest: dict[int, int] = {}
        for position, length in self._lengths.items():
            token = self._tokens[position + 1]
            if length >= self.allowed_length and length > longest.get(token, 0):
                longest[token] = length
        return {
            token: self._penalty(length) for token, length in longest.items() if token not in self.breakers
        }

    def _penalty(self, length: int) -> float:
        try:
            return min(self.multiplier * self.base ** (length - self.allowed_length), _MAX_PENALTY)
        except OverflowError:
            return _MAX_PENALTY


def _prefix_lengths(tokens: Sequence[int]) -> list[int]:
    """Return, for each position, how many tokens from there equal the first ones (the Z-function)."""
    lengths = [0] * len(tokens)
    start = end = 0
    for at in range(1, len(tokens)):
        length = min(end - at, lengths[at - start]) if at < end else 0
        while at + length < len(tokens) and tokens[length] == tokens[at + length]:
            length += 1
        lengths[at] = length
        if at + length > end:
            start, end = at, at + length
    return lengths
