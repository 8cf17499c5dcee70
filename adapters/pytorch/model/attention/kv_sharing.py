"""Cross-layer sharing: later layers use the keys and values, or the selected tokens, of an earlier layer."""

from typing import TypeAlias

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.model.cache.hybrid_cache import HybridCache
from litgpt.adapters.pytorch.model.cache.layer_cache import LayerCache
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.domain.model import Architecture, MixerSpec, MLASpec


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


@attrs.define(eq=False)
class Selection:
    """The tokens (B, 1, T, S) that a layer's indexer selected in this call; None: all."""

    mask: Tensor | None = None


@attrs.frozen(eq=False)
class IndexedCache:
    """The cache of a layer, or None, and the selection that it shares with other layers."""

    cache: LayerCache | None
    selection: Selection


LayerState: TypeAlias = LayerCache | RecurrentState | HybridCache | SharedKV | IndexedCache | None
"""The cache of one layer."""


def sharing_layers(architecture: Architecture) -> frozenset[int | None]:
    """Return the layers whose keys and values or selected tokens later layers use."""
    mixers = [layer.mixer for layer in architecture.layers]
    used = {mixer.kv_shared_layer for mixer in mixers} | {mixer.indexer_layer for mixer in mixers}
    return frozenset(used - {None})


class KVSharing:
    """What the layers share in one call."""

    def __init__(self, sharing_layers: frozenset[int | None]) -> None:
        self._sharing_layers = sharing_layers
        self._shared: dict[int, SharedKV] = {}
        self._selections: dict[int, Selection] = {}

    def layer_state(
        self, layer: int, mixer: MixerSpec, cache: LayerCache | RecurrentState | HybridCache | None
    ) -> LayerState:
        """Return the cache of a layer with what it shares, or the keys and values of another layer."""
        if mixer.kv_shared_layer is not None:
            return self._shared[mixer.kv_shared_layer]
        source = layer if mixer.indexer_layer is None else mixer.indexer_layer
        if source not in self._sharing_layers:
            return cache
        assert cache is None or isinstance(cache, LayerCache)  # noqa: S101 - only attention layers share keys
        if isinstance(mixer, MLASpec):
            return IndexedCache(cache, self._selections.setdefault(source, Selection()))
        self._shared[layer] = SharedKV(cache)
        return self._shared[layer]
