"""Attention masks, computed once per call for all layers of the same kind."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor


@attrs.frozen(eq=False)
class AttentionMask:
    """The attention mask of one call, for layers with the same window.

    Attributes:
        kv_start: The first slot that any token attends to.
        causal: The mask is exactly causal over the tokens of this call, so that `mask` is not needed.
        mask: (B or 1, 1, T, slots from `kv_start` on), True where a token attends; None if all tokens attend
            to all slots, or if `causal`.
        bias: (B or 1, H, slots from `kv_start` on), added to the attention scores; None: no bias.
        padding_mask: (B, T), False at padding; None if this call has no padding.
    """

    kv_start: int
    causal: bool
    mask: Tensor | None
    bias: Tensor | None = None
    padding_mask: Tensor | None = None


def build_mask(
    *,
    slot: int,
    tokens: int,
    sliding_window: int | None,
    row_offsets: Sequence[int],
    chunked: bool = False,
    device: torch.device,
) -> AttentionMask:
    """Return the attention mask of `tokens` tokens that are written to the cache from `slot` on.

    Args:
        slot: Number of slots that are already written.
        tokens: Number of tokens per row in this call (T).
        sliding_window: Number of tokens that a token attends to, including itself; None: all.
        row_offsets: The first slot of each row; earlier slots are padding.
        chunked: Chunked attention: tokens attend within chunks of `sliding_window` tokens of their row.
        device: Device of the mask.
    """
    if chunked and sliding_window is not None:
        return _build_chunked_mask(slot, tokens, sliding_window, row_offsets, device)
    kv_start = min(slot, *row_offsets)
    if sliding_window is not None:
        kv_start = max(kv_start, slot + 1 - sliding_window)
    end = slot + tokens
    padded = any(start > kv_start for start in row_offsets)
    if not padded:
        if tokens == 1:
            return AttentionMask(kv_start, causal=False, mask=None)
        if kv_start == slot and (sliding_window is None or tokens <= sliding_window):
            return AttentionMask(kv_start, causal=True, mask=None)
    queries = torch.arange(slot, end, device=device)[:, None]
    keys = torch.arange(kv_start, end, device=device)
    mask = keys <= queries
    if sliding_window is not None:
        mask &= keys > queries - sliding_window
    mask = mask[None, None]
    if padded:
        starts = torch.tensor(row_offsets, device=device)[:, None, None, None]
        # Padding attends to itself: the softmax of a fully masked row is NaN, and 0 * NaN is NaN.
        mask = (mask & (keys >= starts)) | (keys == queries)
        if max(row_offsets) > slot:
            padding_mask = starts[:, 0, 0] <= queries.T
            return AttentionMask(kv_start, causal=False, mask=mask, padding_mask=padding_mask)
    return AttentionMask(kv_start, causal=False, mask=mask)


def _build_chunked_mask(
    slot: int, tokens: int, chunk: int, row_offsets: Sequence[int], device: torch.device
) -> AttentionMask:
    end = slot + tokens
    # The first slot of the chunk that contains the first token of this call, for each row.
    chunk_starts = [start + max(0, slot - start) // chunk * chunk for start in row_offsets]
    kv_start = min(slot, *chunk_starts)
    if all(
        start <= slot and chunk_start == kv_start and end <= chunk_start + chunk
        for start, chunk_start in zip(row_offsets, chunk_starts, strict=True)
    ):
        if tokens == 1:
            return AttentionMask(kv_start, causal=False, mask=None)
        if kv_start == slot:
            return AttentionMask(kv_start, causal=True, mask=None)
    queries = torch.arange(slot, end, device=device)[:, None]
    keys = torch.arange(kv_start, end, device=device)
    starts = torch.tensor(row_offsets, device=device)[:, None, None, None]
    # Padding, which has negative positions, is in chunks of its own, so that it attends to itself.
    query_chunks = (queries - starts).div(chunk, rounding_mode="floor")
    same_chunk = query_chunks == (keys - starts).div(chunk, rounding_mode="floor")
    return AttentionMask(kv_start, causal=False, mask=same_chunk & (keys <= queries))
