"""The KV cache of a batch, and the recurrent states of its gated delta nets.

The cache is an argument of the model. Rows are left-padded: row `b` begins at slot `row_offsets[b]`, so that
a decoding step writes the same slot in all rows. Layers with a sliding window drop slots outside of it.
"""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.recurrent_state import RecurrentState, empty_recurrent_state
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.model import Architecture

# A full cache is reallocated geometrically: the amortized cost of copying is constant per token.
_GROWTH_FACTOR = 1.5
_MIN_CAPACITY = 64


@attrs.define(eq=False)
class LayerCache:
    """Keys and values of one layer.

    Attributes:
        sliding_window: Number of tokens that a token attends to; None: all.
        oldest_slot: The slot at index 0. Earlier slots are dropped.
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
        """Number of slots that are allocated."""
        return self.keys.shape[2]

    def reserve(self, length: int, more: int, max_length: int) -> None:
        """Make room for slots `length` to `length + more`: drop slots outside the window, or reallocate."""
        if length + more - self.oldest_slot <= self.capacity:
            return
        first = self.oldest_slot
        if self.sliding_window is not None:
            # A quarter more than the window, so that the last tokens can be truncated.
            first = max(first, length + 1 - self.sliding_window - self.sliding_window // 4)
        needed = length + more - first
        # Twice the window, so that entries are moved once per window and not at every token.
        bound = max_length if self.sliding_window is None else min(max_length, 2 * self.sliding_window)
        capacity = max(needed, min(bound, max(int(needed * _GROWTH_FACTOR), _MIN_CAPACITY, self.capacity)))
        self.keys = self._reallocated(self.keys, first, length, capacity)
        self.values = self._reallocated(self.values, first, length, capacity)
        self.oldest_slot = first

    def _reallocated(self, old: Tensor, first: int, length: int, capacity: int) -> Tensor:
        entries = old[:, :, first - self.oldest_slot : length - self.oldest_slot]
        # Zeros: slots that are not written are masked, but 0 * NaN in the attention output is NaN.
        new = old.new_zeros((*old.shape[:2], capacity, old.shape[3]))
        new[:, :, : entries.shape[2]] = entries
        return new

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def keep_rows(self, index: Tensor) -> None:
        """Select rows, in the order of `index`."""
        self.keys, self.values = self.keys[index], self.values[index]

    def can_truncate_to(self, length: int, written: int) -> bool:
        """Return whether slot `length` can still attend to all slots of its window."""
        del written
        return self.oldest_slot <= max(0, length + 1 - (self.sliding_window or length + 1))

    def copy(self, length: int) -> "LayerCache":
        """Return a copy of the first `length` slots, without spare capacity."""
        size = length - self.oldest_slot
        return attrs.evolve(
            self, keys=self.keys[:, :, :size].clone(), values=self.values[:, :, :size].clone()
        )

    def write(self, keys: Tensor, values: Tensor, slot: int, kv_start: int) -> tuple[Tensor, Tensor]:
        """Write keys and values (b, G, T, E) of the first `b` rows from `slot` on.

        Return the keys and values of these rows from `kv_start` on.
        """
        rows, more = keys.shape[0], keys.shape[2]
        at, begin = slot - self.oldest_slot, kv_start - self.oldest_slot
        all_keys, all_values = self.keys, self.values
        if rows < len(all_keys):
            all_keys, all_values = all_keys[:rows], all_values[:rows]
        all_keys.narrow(2, at, more).copy_(keys)
        all_values.narrow(2, at, more).copy_(values)
        count = at + more - begin
        return all_keys.narrow(2, begin, count), all_values.narrow(2, begin, count)


@attrs.define(eq=False)
class KVCache:
    """The cache of a batch.

    Attributes:
        max_length: Maximum number of slots.
        row_offsets: The first slot of each row.
        lengths: Maximum length of each row in tokens, on which dynamic NTK and LongRoPE depend.
        length: Number of slots written so far, including dropped ones.
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
        """Return a cache that grows on demand, or with its maximum capacity if `fixed`.

        If `lengths` is None, each row may use all slots from its first one on.
        """
        layers: list[LayerCache | RecurrentState] = []
        count = len(architecture.layers)
        devices = [device] * count if isinstance(device, torch.device) else list(device)
        for layer, layer_device in zip(architecture.layers, devices, strict=True):
            spec, window = layer.mixer.cache_spec, layer.mixer.sliding_window
            if spec.recurrent_state:
                layers.append(
                    empty_recurrent_state(
                        len(row_offsets),
                        spec.recurrent_shape,
                        spec.conv_shape,
                        device=layer_device,
                        dtype=dtype,
                    )
                )
                continue
            slots = max_length if fixed else 0
            if fixed and window is not None:
                slots = min(slots, 2 * window)
            keys, values = (
                torch.zeros(
                    (len(row_offsets), spec.num_kv_heads, slots, size), device=layer_device, dtype=dtype
                )
                for size in (spec.k_head_dim, spec.v_head_dim)
            )
            layers.append(LayerCache(window, 0, keys, values))
        row_lengths = list(lengths or (max_length - start for start in row_offsets))
        return cls(layers, max_length, list(row_offsets), row_lengths, devices)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def reserve(self, more: int) -> None:
        for layer in self.layers:
            layer.reserve(self.length, more, self.max_length)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Select rows, in this order."""
        index = {device: torch.tensor(rows, device=device) for device in set(self.devices)}
        for layer, device in zip(self.layers, self.devices, strict=True):
            layer.keep_rows(index[device])
        self.row_offsets = [self.row_offsets[row] for row in rows]
        self.lengths = [self.lengths[row] for row in rows]

    def truncate(self, length: int) -> bool:
        """Drop all slots from `length` on; return False if a layer has already dropped earlier slots."""
        if not all(layer.can_truncate_to(length, self.length) for layer in self.layers):
            return False
        self.length = min(self.length, length)
        return True

    def set_limits(self, *, max_length: int, lengths: Sequence[int]) -> None:
        """Reuse the cache for rows with other maximum lengths."""
        self.max_length, self.lengths = max_length, list(lengths)

    def copy(self) -> "KVCache":
        layers = [layer.copy(self.length) for layer in self.layers]
        return attrs.evolve(
            self, layers=layers, row_offsets=list(self.row_offsets), lengths=list(self.lengths)
        )
