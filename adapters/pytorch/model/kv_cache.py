"""The KV cache: what was computed for the tokens before, kept for those that follow.

It is an argument of the network and belongs to whoever generates. All rows of a batch share their slots: row
`b` begins at slot `starts[b]`, so rows are aligned at their ends (padded on the left) and a step writes one
slot. Layers with a window keep only as many slots as a later token may still see.
"""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.recurrent_state import RecurrentState, empty_recurrent_state
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.model import Architecture, GatedDeltaSpec

# How much a cache grows by when it is full: often enough to hold little that is not needed, and seldom enough
# that copying it costs next to nothing per token.
_GROWTH_FACTOR = 1.5
_MIN_CAPACITY = 64


@attrs.define(eq=False)
class LayerCache:
    """Keys and values of one layer.

    Attributes:
        sliding_window: How many tokens a token sees; None sees all.
        oldest_slot: The slot that is kept at index 0. Slots before it are forgotten.
        keys: (B, G, capacity, E).
        values: (B, G, capacity, E).

    """

    sliding_window: int | None
    oldest_slot: int
    keys: Tensor
    values: Tensor

    def __repr__(self) -> str:
        return summary_repr("LayerCache", window=self.sliding_window, slots=self.capacity, nbytes=self.nbytes)

    @property
    def capacity(self) -> int:
        """How many slots there is memory for."""
        return self.keys.shape[2]

    def reserve(self, length: int, more: int, max_length: int) -> None:
        """See to it that slots `length` to `length + more` can be written, by forgetting or by growing.

        Args:
            length: How many slots are written by now, forgotten ones included.
            more: How many will be.
            max_length: How many slots there will ever be.

        """
        if length + more - self.oldest_slot <= self.capacity:
            return
        first = self.oldest_slot
        if self.sliding_window is not None:
            # A little more than the window, so that the last few tokens can be taken back and said
            # differently.
            first = max(first, length + 1 - self.sliding_window - self.sliding_window // 4)
        needed = length + more - first
        # Twice the window, so that what is kept is moved once in a window's length and not at every token.
        bound = max_length if self.sliding_window is None else min(max_length, 2 * self.sliding_window)
        capacity = max(needed, min(bound, max(int(needed * _GROWTH_FACTOR), _MIN_CAPACITY, self.capacity)))
        self.keys = self._reallocated(self.keys, first, length, capacity)
        self.values = self._reallocated(self.values, first, length, capacity)
        self.oldest_slot = first

    def _reallocated(self, old: Tensor, first: int, length: int, capacity: int) -> Tensor:
        kept = old[:, :, first - self.oldest_slot : length - self.oldest_slot]
        # Zeros, for what a row has not written is masked, and a masked NaN would still spoil a sum.
        new = old.new_zeros((*old.shape[:2], capacity, old.shape[3]))
        new[:, :, : kept.shape[2]] = kept
        return new

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        return self.keys.nbytes + self.values.nbytes

    def keep_rows(self, index: Tensor) -> None:
        """Forget all rows but these, in this order."""
        self.keys, self.values = self.keys[index], self.values[index]

    def can_truncate_to(self, length: int, written: int) -> bool:
        """Whether all slots from `length` to `written` can be forgotten: what a token sees must be there."""
        del written
        return self.oldest_slot <= max(0, length + 1 - (self.sliding_window or length + 1))

    def copy(self, length: int) -> "LayerCache":
        """Return one with the same `length` slots and memory of its own, no larger than they are."""
        kept = length - self.oldest_slot
        return attrs.evolve(
            self, keys=self.keys[:, :, :kept].clone(), values=self.values[:, :, :kept].clone()
        )

    def write(self, keys: Tensor, values: Tensor, slot: int, kv_start: int) -> tuple[Tensor, Tensor]:
        """Write (b, G, T, E) from `slot` on, for the first `b` rows.

        Return what is kept from `kv_start` on.
        """
        rows, more = keys.shape[0], keys.shape[2]
        at, begin = slot - self.oldest_slot, kv_start - self.oldest_slot
        all_keys, all_values = self.keys, self.values
        if rows < len(all_keys):
            all_keys, all_values = all_keys[:rows], all_values[:rows]
        all_keys.narrow(2, at, more).copy_(keys)
        all_values.narrow(2, at, more).copy_(values)
        seen = at + more - begin
        return all_keys.narrow(2, begin, seen), all_values.narrow(2, begin, seen)


@attrs.define(eq=False)
class KVCache:
    """The cache of a batch.

    Attributes:
        layers: One for each layer.
        max_length: How many slots there will ever be.
        row_offsets: The first slot of each row.
        lengths: How long the text in each row may become, in tokens: some rotary embeddings depend on it.
        devices: Where each layer's part is.
        length: How many slots are written.

    """

    layers: list[LayerCache | RecurrentState]
    max_length: int
    row_offsets: list[int]
    lengths: list[int]
    devices: list[torch.device]
    length: int = 0

    def __repr__(self) -> str:
        return summary_repr(
            "KVCache",
            layers=len(self.layers),
            rows=len(self.row_offsets),
            length=self.length,
            limit=self.max_length,
            nbytes=self.nbytes,
        )

    @classmethod
    def empty(
        cls,
        architecture: Architecture,
        *,
        max_length: int,
        device: torch.device | Sequence[torch.device],
        dtype: torch.dtype,
        row_offsets: Sequence[int] = (0,),
        lengths: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> "KVCache":
        """Return a cache that takes memory as it is needed, or all that it may need at once if `fixed`.

        Where `lengths` are not told, each row's text may take all slots that are left to it.
        """
        layers: list[LayerCache | RecurrentState] = []
        count = len(architecture.layers)
        devices = [device] * count if isinstance(device, torch.device) else list(device)
        for layer, there in zip(architecture.layers, devices, strict=True):
            if isinstance(mixer := layer.mixer, GatedDeltaSpec):
                sizes, recent = (
                    (mixer.num_heads, mixer.k_head_dim, mixer.v_head_dim),
                    mixer.conv_kernel_size - 1,
                )
                layers.append(
                    empty_recurrent_state(
                        len(row_offsets), sizes, (mixer.conv_dim, recent), device=there, dtype=dtype
                    )
                )
                continue
            kept, window = mixer.cache_spec, mixer.sliding_window
            slots = max_length if fixed else 0
            if fixed and window is not None:
                slots = min(slots, 2 * window)
            keys, values = (
                torch.zeros((len(row_offsets), kept.num_kv_heads, slots, size), device=there, dtype=dtype)
                for size in (kept.k_head_dim, kept.v_head_dim)
            )
            layers.append(LayerCache(window, 0, keys, values))
        texts = list(lengths or (max_length - start for start in row_offsets))
        return cls(layers, max_length, list(row_offsets), texts, devices)

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        return sum(layer.nbytes for layer in self.layers)

    def reserve(self, more: int) -> None:
        """See to it that `more` slots can be written."""
        for layer in self.layers:
            layer.reserve(self.length, more, self.max_length)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, in this order."""
        index = {device: torch.tensor(rows, device=device) for device in set(self.devices)}
        for layer, device in zip(self.layers, self.devices, strict=True):
            layer.keep_rows(index[device])
        self.row_offsets = [self.row_offsets[row] for row in rows]
        self.lengths = [self.lengths[row] for row in rows]

    def truncate(self, length: int) -> bool:
        """Forget all slots from `length` on; return False if a layer lacks what comes before."""
        if not all(layer.can_truncate_to(length, self.length) for layer in self.layers):
            return False
        self.length = min(self.length, length)
        return True

    def set_limits(self, *, max_length: int, lengths: Sequence[int]) -> None:
        """Take the cache for texts that may become longer, or not as long."""
        self.max_length, self.lengths = max_length, list(lengths)

    def copy(self) -> "KVCache":
        """Return a cache with the same contents and memory of its own, no larger than they are."""
        layers = [layer.copy(self.length) for layer in self.layers]
        return attrs.evolve(
            self, layers=layers, row_offsets=list(self.row_offsets), lengths=list(self.lengths)
        )
