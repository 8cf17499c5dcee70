"""Which tokens see which: computed once per call for all layers, and as little of it as is needed."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor


@attrs.frozen(eq=False)
class View:
    """What the tokens of one call see in a layer with a given window.

    Attributes:
        since: The first slot that any of them sees.
        causal: Whether they see exactly those before them in this very call, so that no mask is needed.
        mask: (B or 1, 1, T, slots since `since`), true where they see; None if all is seen, or `causal`.
        bias: (B or 1, H, slots since `since`), added to the scores of each head; None adds nothing.
        present: (B, T), false where a row has not begun; None if all have.

    """

    since: int
    causal: bool
    mask: Tensor | None
    bias: Tensor | None = None
    present: Tensor | None = None


def view(
    *,
    slot: int,
    tokens: int,
    window: int | None,
    starts: Sequence[int],
    kept_since: int,
    chunked: bool = False,
    device: torch.device,
) -> View:
    """Return what `tokens` tokens that are written from `slot` on see.

    Args:
        slot: How many slots were written before.
        tokens: How many tokens this call has per row (T).
        window: How many tokens a token sees, itself included; None sees all.
        starts: The first slot of each row; what is before is padding.
        kept_since: The first slot that the layer's cache still has.
        chunked: Whether windows are chunks of a text, from its beginning on, of which a token sees its own.
        device: Where the mask is to be.

    """
    if chunked and window is not None:
        return _chunks(slot, tokens, window, starts, kept_since, device)
    since = kept_since if window is None else max(kept_since, slot + 1 - window)
    end = slot + tokens
    padded = any(start > since for start in starts)
    if not padded:
        if tokens == 1:
            return View(since, causal=False, mask=None)
        if since == slot and (window is None or tokens <= window):
            return View(since, causal=True, mask=None)
    queries = torch.arange(slot, end, device=device)[:, None]
    keys = torch.arange(since, end, device=device)
    mask = keys <= queries
    if window is not None:
        mask &= keys > queries - window
    mask = mask[None, None]
    if padded:
        begins = torch.tensor(starts, device=device)[:, None, None, None]
        # A padding token sees itself: a softmax over nothing would be NaN, and NaN spreads even through a
        # mask.
        mask = (mask & (keys >= begins)) | (keys == queries)
        if max(starts) > slot:
            return View(since, causal=False, mask=mask, present=begins[:, 0, 0] <= queries.T)
    return View(since, causal=False, mask=mask)


def _chunks(
    slot: int, tokens: int, chunk: int, starts: Sequence[int], kept_since: int, device: torch.device
) -> View:
    """Return what tokens see of a text that is cut into chunks; as `view`."""
    end = slot + tokens
    begins = [start + max(0, slot - start) // chunk * chunk for start in starts]  # of each row's first token
    since = max(kept_since, min(begins))
    if all(
        start <= slot and begin == since and end <= begin + chunk
        for start, begin in zip(starts, begins, strict=True)
    ):
        if tokens == 1:
            return View(since, causal=False, mask=None)
        if since == slot:
            return View(since, causal=True, mask=None)
    queries = torch.arange(slot, end, device=device)[:, None]
    keys = torch.arange(since, end, device=device)
    from_start = torch.tensor(starts, device=device)[:, None, None, None]
    # Of padding, which is before the start, a chunk of its own is made, so that it sees itself.
    same = (queries - from_start).div(chunk, rounding_mode="floor") == (keys - from_start).div(
        chunk, rounding_mode="floor"
    )
    return View(since, causal=False, mask=same & (keys <= queries))
