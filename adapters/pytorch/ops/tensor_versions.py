"""Version counters of tensors, which invalidate values cached from them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place; -1 for an inference tensor, which has no counter."""
    return -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 - torch has no public API for it


def weights_version(model: nn.Module) -> int:
    """Return the sum of the version counters of all weights that require gradients."""
    return sum(version(weight) for weight in model.parameters() if weight.requires_grad)


def written_versions(tensors: Iterable[Tensor]) -> list[tuple[int, int, torch.dtype, torch.device]]:
    """Return values that change when tensors are written, replaced, converted or moved.

    Writes to their `.data` are not counted.
    """
    return [(version(it), it.data_ptr(), it.dtype, it.device) for it in tensors]
