"""Equality of tensors with different dtypes."""

import torch
from torch import Tensor

_ROWS = 1024
"""Number of rows that are converted at a time if dtypes differ, to limit the memory for copies."""


def tensors_equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors have the same shape and equal values, regardless of their dtypes.

    If dtypes differ, the comparison stops at the first block of rows that differs.
    """
    if a.shape != b.shape:
        return False
    if a.dtype == b.dtype:
        return torch.equal(a, b)
    pairs = zip(a.split(_ROWS), b.split(_ROWS), strict=True)
    return all(torch.equal(left.double(), right.double()) for left, right in pairs)
