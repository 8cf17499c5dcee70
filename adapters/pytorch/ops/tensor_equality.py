"""Equality of tensors with different dtypes."""

import torch
from torch import Tensor

_ROWS = 1024
"""Number of rows that are converted at a time if dtypes differ, to limit the memory for copies."""


def tensors_equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape and equal values, regardless of their dtypes.

    If dtypes differ, the comparison stops at the first block of rows that differs.
    """
    if one.shape != other.shape:
        return False
    if one.dtype == other.dtype:
        return torch.equal(one, other)
    pairs = zip(one.split(_ROWS), other.split(_ROWS), strict=True)
    return all(torch.equal(left.double(), right.double()) for left, right in pairs)
