"""Keys and values that a layer lends to later ones, which have none of their own."""

from typing import TypeAlias

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.model.kv_cache import LayerCache
from litgpt.adapters.pytorch.model.recurrent_state import RecurrentState


@attrs.define(eq=False)
class SharedKV:
    """Where a layer keeps its keys and values, and what the tokens of this call see of them.

    Attributes:
        cache: Where they are kept; None keeps nothing.
        keys: (B, G, S, E), once they are written.
        values: (B, G, S, V), once they are written.

    """

    cache: LayerCache | None
    keys: Tensor | None = None
    values: Tensor | None = None

    def write(self, keys: Tensor, values: Tensor, slot: int, kv_start: int) -> tuple[Tensor, Tensor]:
        """Do as `LayerCache.write`, and remember what is returned."""
        if self.cache is not None:
            keys, values = self.cache.write(keys, values, slot, kv_start)
        self.keys, self.values = keys, values
        return keys, values

    def read(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return them where a borrower's queries are."""
        assert self.keys is not None  # noqa: S101 - a lender is an earlier layer
        assert self.values is not None  # noqa: S101 - as above
        return self.keys.to(queries.device), self.values.to(queries.device)


LayerState: TypeAlias = LayerCache | RecurrentState | SharedKV | None
"""Where a layer keeps what later calls need."""


class KVSharing:
    """Who lends what in one call.

    Args:
        lenders: The numbers of the layers that lend.

    """

    def __init__(self, sharing_layers: frozenset[int | None]) -> None:
        self._sharing_layers = sharing_layers
        self._shared: dict[int, SharedKV] = {}

    def layer_state(
        self, layer: int, kv_shared_layer: int | None, cache: LayerCache | RecurrentState | None
    ) -> LayerState:
        """Return the place of a layer, given the layer that it borrows from and its own part of the cache."""
        if kv_shared_layer is not None:
            return self._shared[kv_shared_layer]
        if layer not in self._sharing_layers:
            return cache
        assert not isinstance(cache, RecurrentState)  # noqa: S101 - only attention has keys to lend
        self._shared[layer] = SharedKV(cache)
        return self._shared[layer]
