"""The state of a constraint during one answer."""

from collections.abc import Iterable, Sequence
from typing import Protocol, Self


class TokenConstraint(Protocol):
    """Says which tokens may follow in one answer."""

    @property
    def is_finished(self) -> bool:
        """Whether the answer is complete and cannot be continued."""
        ...

    def mask(self) -> bytes | frozenset[int]:
        """Return a bit for each token id, the lowest bit of a byte first; tokens without one are excluded.

        Where the text is free, it returns the few tokens that are excluded instead. Stop tokens are allowed
        where the answer is complete.

        Raises:
            ConstraintFailed: The constraint cannot be followed any further.
        """
        ...

    def forced(self) -> Sequence[int]:
        """Return tokens that follow one after the other because no others are allowed; no stop tokens.

        They are as the answer has them without this method, from the masks. None can be missing before
        them, but further ones may follow after `advance`.
        """
        ...

    def advance(self, token: int) -> None:
        """Add a token to the answer."""
        ...

    def copy(self) -> Self:
        """Return an independent copy of a constraint that has no tokens yet."""
        ...


def allow(mask: bytes, tokens: Iterable[int]) -> bytes:
    """Return a mask that also allows some tokens."""
    changed = bytearray(mask)
    for token in tokens:
        if token >> 3 >= len(changed):
            changed.extend(bytes((token >> 3) + 1 - len(changed)))
        changed[token >> 3] |= 1 << (token & 7)
    return bytes(changed)


def exclude(mask: bytes, tokens: Iterable[int]) -> bytes:
    """Return a mask that does not allow some tokens."""
    changed = bytearray(mask)
    for token in tokens:
        if token >> 3 < len(changed):
            changed[token >> 3] &= ~(1 << (token & 7))
    return bytes(changed)
