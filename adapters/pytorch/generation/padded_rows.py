"""Rows of different lengths in one batch, padded after their ends, for sequences that are not continued."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.causal_lm import CausalLM

PASS_TOKENS = 1024
"""The tokens of a forward pass: enough to be compute-bound, few enough to keep activations small."""

_MAX_CACHED = 2**14
"""The tokens in the KV caches of a batch."""


def split_rows(indices: Sequence[int], lengths: Sequence[int], *, computed: int = 0) -> Iterator[list[int]]:
    """Yield batches of rows whose tokens fit in a forward pass; a longer row is alone.

    Args:
        indices: The rows, the longest first.
        lengths: The number of tokens of each row, of which `computed` are copied from another KV cache.
        computed: See `lengths`.
    """
    batch: list[int] = []
    for index in indices:
        longest = lengths[batch[0] if batch else index]
        rows = len(batch) + 1
        if batch and (rows * (longest - computed) > PASS_TOKENS or rows * longest > _MAX_CACHED):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def padded_passes(rows: Sequence[Sequence[int]], model: CausalLM) -> Iterator[tuple[int, Tensor]]:
    """Yield the forward passes of a batch: the first column of each, and its tokens (B, T)."""
    width = max(map(len, rows))
    step = max(1, PASS_TOKENS // len(rows)) if model.divides_prompts else width
    for begin in range(0, width, step):
        end = min(begin + step, width)
        block = [[*ids[begin:end], *[0] * (end - max(begin, min(end, len(ids))))] for ids in rows]
        yield begin, torch.tensor(block, device=model.input_device)
