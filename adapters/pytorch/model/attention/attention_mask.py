"""Which tokens see which: computed once per call for all layers, and as little of it as is needed."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor


@attrs.frozen(eq=False)
class AttentionMask:
    """What the tokens of one call see in a layer with a given window.

    Attributes:
        kv_start: The first slot that any of them sees.
        causal: Whether they see exactly those before them in this very call, so that no mask is needed.
        mask: (B or 1, 1, T, slots since `kv_start`), true where they see; None if all is seen, or `causal`.
        bias: (B or 1, H, slots since `kv_start`), added to the scores of each head; None adds nothing.
        padding_mask: (B, T), false where a row has not begun; None if all have.

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
    oldest_slot: int,
    chunked: bool = False,
    device: torch.device,
) -> AttentionMask:
    """Return what `tokens` tokens that are written from `slot` on see.

    Args:
        slot: How many slots were written before.
        tokens: How many tokens this call has per row (T).
        sliding_window: How many tokens a token sees, itself included; None sees all.
        row_offsets: The first slot of each row; what is before is padding.
        oldest_slot: The first slot that the layer's cache still has.
        chunked: Whether windows are chunks of a text, from its beginning on, of which a token sees its own.
        device: Where the mask is to be.

    """
    if chunked and sliding_window is not None:
        return _build_chunked_mask(slot, tokens, sliding_window, row_offsets, oldest_slot, device)
    since = oldest_slot if sliding_window is None else max(oldest_slot, slot + 1 - sliding_window)
    end = slot + tokens
    padded = any(start > since for start in row_offsets)
    if not padded:
        if tokens == 1:
            return AttentionMask(since, causal=False, mask=None)
        if since == slot and (sliding_window is None or tokens <= sliding_window):
            return AttentionMask(since, causal=True, mask=None)
    queries = torch.arange(slot, end, device=device)[:, None]
    keys = torch.arange(since, end, device=device)
    mask = keys <= queries
    if sliding_window is not None:
        mask &= keys > queries - sliding_window
    mask = mask[None, None]
    if padded:
        begins = torch.tensor(row_offsets, device=device)[:, None, None, None]
        # A padding token sees itself: a softmax over nothing would be NaN, and NaN spreads even through a
        # mask.
        mask = (mask & (keys >= begins)) | (keys == queries)
        if max(row_offsets) > slot:
            return AttentionMask(since, causal=False, mask=mask, padding_mask=begins[:, 0, 0] <= queries.T)
    return AttentionMask(since, causal=False, mask=mask)


def _build_chunked_mask(
    slot: int, tokens: int, chunk: int, row_offsets: Sequence[int], oldest_slot: int, device: torch.device
) -> AttentionMask:
    """Return what tokens see of a text that is cut into chunks; as `view`."""
    end = slot + tokens
    begins = [
        start + max(0, slot - start) // chunk * chunk for start in row_offsets
    ]  # of each row's first token
    since = max(oldest_slot, min(begins))
    if all(
        start <= slot and begin == since and end <= begin + chunk
        for start, begin in zip(row_offsets, begins, strict=True)
    ):
        if tokens == 1:
            return AttentionMask(since, causal=False, mask=None)
        if since == slot:
            return AttentionMask(since, causal=True, mask=None)
    queries = torch.arange(slot, end, device=device)[:, None]
    keys = torch.arange(since, end, device=device)
    from_start = torch.tensor(row_offsets, device=device)[:, None, None, None]
    # Of padding, which is before the start, a chunk of its own is made, so that it sees itself.
    same = (queries - from_start).div(chunk, rounding_mode="floor") == (keys - from_start).div(
        chunk, rounding_mode="floor"
    )
    return AttentionMask(since, causal=False, mask=same & (keys <= queries))
