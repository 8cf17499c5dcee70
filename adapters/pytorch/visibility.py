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

    """

    since: int
    causal: bool
    mask: Tensor | None


def view(
    *,
    slot: int,
    tokens: int,
    window: int | None,
    starts: Sequence[int],
    kept_since: int,
    device: torch.device,
) -> View:
    """Return what `tokens` tokens that are written from `slot` on see.

    Args:
        slot: How many slots were written before.
        tokens: How many tokens this call has per row (T).
        window: How many tokens a token sees, itself included; None sees all.
        starts: The first slot of each row; what is before is padding.
        kept_since: The first slot that the layer's cache still has.
        device: Where the mask is to be.

    """
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
    return View(since, causal=False, mask=mask)
