"""The KV cache of a batch, and the recurrent states of its linear attention and state spaces.

The cache is an argument of the model. Rows are left-padded: row `b` begins at slot `row_offsets[b]`, so that
a decoding step writes the same slot in all rows. Layers with a sliding window drop slots outside of it.

Rows leave by `keep_rows` and join by `join`, which aligns their last slots. Only differences of slots matter:
a row that is longer than all slots written so far begins at a negative slot, and the slot numbers of a batch
whose rows are replaced again and again grow without an effect on its memory.
"""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.cache.hybrid_cache import HybridCache
from litgpt.adapters.pytorch.model.cache.layer_cache import JoinedRows, LayerCache
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState, empty_recurrent_state
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.model import Architecture


@attrs.define(eq=False)
class KVCache:
    """The cache of a batch.

    Attributes:
        max_length: The slot after the last one that a row may use.
        row_offsets: The first slot of each row.
        lengths: Maximum length of each row in tokens, on which dynamic NTK and LongRoPE depend.
        length: The slot after the last one written.
    """

    layers: list[LayerCache | RecurrentState | HybridCache]
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
        layers: list[LayerCache | RecurrentState | HybridCache] = []
        count = len(architecture.layers)
        devices = [device] * count if isinstance(device, torch.device) else list(device)
        for layer, layer_device in zip(architecture.layers, devices, strict=True):
            spec, window = layer.mixer.cache_spec, layer.mixer.sliding_window
            state = None
            if spec.is_state:
                rows = len(row_offsets)
                shapes = spec.recurrent_shape, spec.conv_shape
                state = empty_recurrent_state(rows, *shapes, device=layer_device, dtype=dtype)
                if not spec.numel_per_token:
                    layers.append(state)
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
            entries = LayerCache(window, 0, keys, values)
            layers.append(entries if state is None else HybridCache(entries, state))
        row_lengths = list(lengths or (max_length - start for start in row_offsets))
        return cls(layers, max_length, list(row_offsets), row_lengths, devices)

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def reserve(self, more: int) -> None:
        rows, first = len(self.row_offsets), min(self.row_offsets)
        for layer in self.layers:
            layer.reserve(self.length, more, rows=rows, first=first, max_length=self.max_length)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Select rows, in this order.

        Rows that keep their place are not copied, unless the others are a quarter of the memory.
        """
        moved = [row for row, source in enumerate(rows) if row != source]
        index = self._on_devices(moved)
        source_index, all_rows = self._on_devices([rows[row] for row in moved]), self._on_devices(rows)
        for layer, device in zip(self.layers, self.devices, strict=True):
            if 4 * len(rows) <= 3 * layer.num_rows:
                layer.keep_rows(all_rows[device])
            elif moved:
                layer.move_rows(source_index[device], index[device], self.length)
        self.row_offsets = [self.row_offsets[row] for row in rows]
        self.lengths = [self.lengths[row] for row in rows]

    def join(
        self, source: "KVCache", source_rows: Sequence[int], rows: Sequence[int], *, end: int | None = None
    ) -> None:
        """Copy rows of another cache of the same model to the rows `rows` of this one, replacing them.

        The last slots are aligned. Rows that follow the last row are added. This copies no other rows, unless
        the cache is reallocated.

        Args:
            source: The other cache.
            source_rows: The rows of `source`.
            rows: The rows of this cache.
            end: The slot of `source` after the last one that is copied, if layers have no sliding windows and
                no recurrent states; None: all slots are copied.
        """
        shift = self.length - (source.length if end is None else end)
        for row, source_row in zip(rows, source_rows, strict=True):
            offset, tokens = source.row_offsets[source_row] + shift, source.lengths[source_row]
            self.row_offsets[row : row + 1], self.lengths[row : row + 1] = [offset], [tokens]
        ends = (start + tokens for start, tokens in zip(self.row_offsets, self.lengths, strict=True))
        # No token attends to the last token of an answer, so it needs no slot.
        self.max_length = max(ends) - 1
        change = JoinedRows(
            rows=len(self.row_offsets),
            length=self.length,
            shift=shift,
            first=min(self.row_offsets),
            first_joined=min(self.row_offsets[row] for row in rows),
            max_length=self.max_length,
        )
        index, source_index = self._on_devices(rows), self._on_devices(source_rows)
        for layer, other, device in zip(self.layers, source.layers, self.devices, strict=True):
            if isinstance(layer, RecurrentState):
                assert isinstance(other, RecurrentState)  # noqa: S101 - of the same model
                layer.join(other, change.rows, index[device], source_index[device])
            elif isinstance(layer, HybridCache):
                assert isinstance(other, HybridCache)  # noqa: S101 - as above
                layer.join(other, change, index[device], source_index[device])
            else:
                assert isinstance(other, LayerCache)  # noqa: S101 - as above
                layer.join(other, change, index[device], source_index[device])

    def _on_devices(self, rows: Sequence[int]) -> dict[torch.device, Tensor]:
        return {device: torch.tensor(rows, device=device, dtype=torch.long) for device in set(self.devices)}

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
