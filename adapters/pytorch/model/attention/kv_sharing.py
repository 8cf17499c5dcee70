"""Cross-layer KV sharing: later layers attend to the keys and values of an earlier layer."""

from typing import TypeAlias

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.model.hybrid_cache import HybridCache
from litgpt.adapters.pytorch.model.layer_cache import LayerCache
from litgpt.adapters.pytorch.model.recurrent_state import RecurrentState


@attrs.define(eq=False)
class SharedKV:
    """The KV cache of a source layer, or None, and the keys and values of the current call.

    They are (B, G, S, E) and (B, G, S, V), None until they are written.
    """

    cache: LayerCache | None
    keys: Tensor | None = None
    values: Tensor | None = None

    def write(self, keys: Tensor, values: Tensor, slot: int, kv_start: int) -> tuple[Tensor, Tensor]:
        """Write to the cache as `LayerCache.write` does, and store the result for later layers."""
        if self.cache is not None:
            keys, values = self.cache.write(keys, values, slot, kv_start)
        self.keys, self.values = keys, values
        return keys, values

    def read(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values on the device of the queries."""
        assert self.keys is not None  # noqa: S101 - the source is an earlier layer
        assert self.values is not None  # noqa: S101 - as above
        return self.keys.to(queries.device), self.values.to(queries.device)


LayerState: TypeAlias = LayerCache | RecurrentState | HybridCache | SharedKV | None
"""The cache of one layer."""


class KVSharing:
    """The shared keys and values of one call."""

    def __init__(self, sharing_layers: frozenset[int | None]) -> None:
        self._sharing_layers = sharing_layers
        self._shared: dict[int, SharedKV] = {}

    def layer_state(
        self,
        layer: int,
        kv_shared_layer: int | None,
        cache: LayerCache | RecurrentState | HybridCache | None,
    ) -> LayerState:
        """Return the cache of a layer, or the shared keys and values of `kv_shared_layer`."""
        if kv_shared_layer is not None:
            return self._shared[kv_shared_layer]
        if layer not in self._sharing_layers:
            return cache
        assert cache is None or isinstance(cache, LayerCache)  # noqa: S101 - only attention layers share keys
        self._shared[layer] = SharedKV(cache)
        return self._shared[layer]
