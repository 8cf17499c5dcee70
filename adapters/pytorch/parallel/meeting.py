"""How ranks come together: by what they talk is for all of them to agree."""

import torch
from torch.distributed import Store  # type: ignore[attr-defined] # it is public, and not in its list

from litgpt.adapters.pytorch.parallel.group import ProcessGroup, gloo
from litgpt.adapters.pytorch.parallel.nccl import card, nccl
from litgpt.domain.placement import transport


def come_together(
    store: Store, *, rank: int, ranks: int, patience: float, device: torch.device
) -> ProcessGroup:
    """Return the group of all ranks that share a store.

    Args:
        store: Where they find each other.
        rank: Which one this is.
        ranks: How many there are.
        patience: Seconds that a rank waits for the others before it gives up.
        device: What this rank computes on.

    """
    store.set(f"card/{rank}", card(device) or "")
    cards = [store.get(f"card/{one}").decode() or None for one in range(ranks)]
    if transport(cards) == "nccl":
        return nccl(store, rank=rank, ranks=ranks, patience=patience, device=device)
    return gloo(store, rank=rank, ranks=ranks, patience=patience)
