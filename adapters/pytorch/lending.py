"""Keys and values that a layer lends to later ones, which have none of their own."""

from typing import TypeAlias

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.cache import LayerCache
from litgpt.adapters.pytorch.state import StateCache


@attrs.define(eq=False)
class Lender:
    """Where a layer keeps its keys and values, and what the tokens of this call see of them.

    Attributes:
        cache: Where they are kept; None keeps nothing.
        keys: (B, G, S, E), once they are written.
        values: (B, G, S, V), once they are written.

    """

    cache: LayerCache | None
    keys: Tensor | None = None
    values: Tensor | None = None

    def write(self, keys: Tensor, values: Tensor, slot: int, since: int) -> tuple[Tensor, Tensor]:
        """Do as `LayerCache.write`, and remember what is returned."""
        if self.cache is not None:
            keys, values = self.cache.write(keys, values, slot, since)
        self.keys, self.values = keys, values
        return keys, values

    def lent(self, borrower: Tensor) -> tuple[Tensor, Tensor]:
        """Return them where a borrower's queries are."""
        assert self.keys is not None  # noqa: S101 - a lender is an earlier layer
        assert self.values is not None  # noqa: S101 - as above
        return self.keys.to(borrower.device), self.values.to(borrower.device)


Place: TypeAlias = LayerCache | StateCache | Lender | None
"""Where a layer keeps what later calls need."""


class Lending:
    """Who lends what in one call.

    Args:
        lenders: The numbers of the layers that lend.

    """

    def __init__(self, lenders: frozenset[int | None]) -> None:
        self._lenders = lenders
        self._open: dict[int, Lender] = {}

    def place(self, number: int, lender: int | None, kept: LayerCache | StateCache | None) -> Place:
        """Return the place of a layer, given the layer that it borrows from and its own part of the cache."""
        if lender is not None:
            return self._open[lender]
        if number not in self._lenders:
            return kept
        assert not isinstance(kept, StateCache)  # noqa: S101 - only attention has keys to lend
        self._open[number] = Lender(kept)
        return self._open[number]
