"""Embeddings of texts: pooled hidden states of the last layer."""

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.inference import inference
from litgpt.adapters.pytorch.generation.padded_rows import padded_passes, split_rows
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.domain.scoring.request import Pooling


def embed(model: CausalLM, sequences: Sequence[Sequence[int]], pooling: Pooling) -> "list[array[float]]":
    """Return the pooled hidden states after the final norm of each sequence, (D,) in float32."""
    embeddings = torch.empty(len(sequences), model.architecture.hidden_size)
    lengths = [len(ids) for ids in sequences]
    order = sorted(range(len(sequences)), key=lambda index: -lengths[index])
    for batch in split_rows(order, lengths):
        with inference(model, sum(lengths[index] for index in batch)):
            embeddings[batch] = _pooled(model, [sequences[index] for index in batch], pooling)
    return [array("f", row.tobytes()) for row in embeddings.numpy()]


def _pooled(model: CausalLM, rows: Sequence[Sequence[int]], pooling: Pooling) -> Tensor:
    """Return the pooled hidden states (B, D) of a batch."""
    lengths = [len(ids) for ids in rows]
    cache = model.empty_cache(max_length=max(lengths), row_offsets=[0] * len(rows), lengths=lengths)
    ends = torch.tensor(lengths)[:, None]
    total = torch.zeros(len(rows), model.architecture.hidden_size)
    for begin, block in padded_passes(rows, model):
        positions = torch.arange(begin, begin + block.shape[1])
        weights = (positions < ends) / ends if pooling == "mean" else positions == ends - 1
        hidden = model.hidden_states(block, cache).cpu().float()
        total += (weights.float()[:, None] @ hidden)[:, 0]
    return total
