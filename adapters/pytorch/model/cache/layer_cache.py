"""The keys and values of one layer in a KV cache."""

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.model.cache.recurrent_state import grow_rows
from litgpt.domain.formatting.bounded_text import summary_repr

# A full cache is reallocated geometrically: the amortized cost of copying is constant per token.
_GROWTH_FACTOR = 1.5
_MIN_CAPACITY = 64


@attrs.frozen
class JoinedRows:
    """How rows join a cache.

    Attributes:
        rows: Number of rows that are used afterwards.
        length: The slot after the last one of all rows.
        shift: What is added to a slot of the source.
        first: The first slot of all rows afterwards.
        first_joined: The first slot of the joining rows.
        max_length: The slot after the last one that any row may use.
    """

    rows: int
    length: int
    shift: int
    first: int
    first_joined: int
    max_length: int


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

    @property
    def num_rows(self) -> int:
        """Number of rows that are allocated."""
        return len(self.keys)

    def reserve(self, length: int, more: int, *, rows: int, first: int, max_length: int) -> None:
        """Make room for slots `length` to `length + more`: drop slots that no row uses, or reallocate.

        `rows` rows are used, from slot `first` on.
        """
        if length + more - self.oldest_slot <= self.capacity:
            return
        oldest = max(self.oldest_slot, self._first_kept(first, length))
        self._reallocate(rows, oldest, length, self._grown(length + more - oldest, max_length - first))

    def _first_kept(self, first: int, length: int) -> int:
        if self.sliding_window is None:
            return first
        # A quarter more than the window, so that the last tokens can be truncated.
        return max(first, length + 1 - self.sliding_window - self.sliding_window // 4)

    def _grown(self, needed: int, max_slots: int) -> int:
        # Twice the window, so that entries are moved once per window and not at every token.
        bound = max_slots if self.sliding_window is None else min(max_slots, 2 * self.sliding_window)
        return max(needed, min(bound, max(int(needed * _GROWTH_FACTOR), _MIN_CAPACITY, self.capacity)))

    def _reallocate(self, rows: int, oldest: int, length: int, capacity: int) -> None:
        first = max(oldest, self.oldest_slot)
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            entries = old[:rows, :, first - self.oldest_slot : length - self.oldest_slot]
            # Zeros: slots that are not written are masked, but 0 * NaN in the attention output is NaN.
            new = old.new_zeros((rows, old.shape[1], capacity, old.shape[3]))
            new[: len(entries), :, first - oldest : length - oldest] = entries
            setattr(self, name, new)
        self.oldest_slot = oldest

    def join(self, source: "LayerCache", change: JoinedRows, index: Tensor, source_index: Tensor) -> None:
        """Copy the rows `source_index` of another cache to the rows `index`."""
        length, shift = change.length, change.shift
        first = max(change.first_joined, source.oldest_slot + shift)
        if self.sliding_window is not None:
            first = max(first, length + 1 - self.sliding_window)
        if first < self.oldest_slot or change.rows > self.num_rows:
            oldest = min(first, max(self.oldest_slot, self._first_kept(change.first, length)))
            capacity = self._grown(length - oldest, change.max_length - change.first)
            if first < self.oldest_slot:
                # Spare slots in front as well: the next row may be longer still.
                oldest -= (capacity - (length - oldest)) // 2
            self._reallocate(grow_rows(self.num_rows, change.rows), oldest, length, capacity)
        count = length - first
        for own, other in ((self.keys, source.keys), (self.values, source.values)):
            entries = other.narrow(2, first - shift - source.oldest_slot, count)[source_index]
            own.narrow(2, first - self.oldest_slot, count).index_copy_(0, index, entries)

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def keep_rows(self, index: Tensor) -> None:
        """Select rows, in the order of `index`."""
        self.keys, self.values = self.keys[index], self.values[index]

    def move_rows(self, source_index: Tensor, index: Tensor, length: int) -> None:
        """Overwrite the rows `index` by other rows."""
        for tensor in (self.keys, self.values):
            written = tensor.narrow(2, 0, length - self.oldest_slot)
            written.index_copy_(0, index, written[source_index])

    def can_truncate_to(self, length: int, written: int) -> bool:
        """Return whether slot `length` can still attend to all slots of its window."""
        del written
        return self.sliding_window is None or self.oldest_slot <= max(0, length + 1 - self.sliding_window)

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
