"""Embeddings of texts with the native engine: pooled hidden states of the last layer."""

from array import array
from collections.abc import Sequence

import numpy as np

from litgpt.adapters.native.model import NativeModel, NativeSequence
from litgpt.adapters.native.sampling.packed_steps import packed_steps
from litgpt.domain.scoring.request import Pooling


def embed(model: NativeModel, sequences: Sequence[Sequence[int]], pooling: Pooling) -> "list[array[float]]":
    """Return the pooled hidden states after the final norm of each sequence, (D,) in float32."""
    lengths = [len(ids) for ids in sequences]
    totals = np.zeros((len(sequences), model.architecture.hidden_size))
    opened: dict[int, NativeSequence] = {}
    for step in packed_steps(lengths):
        batch, rows, owners = [], [], []
        first = 0
        for index, begin, end in step:
            if begin == 0:
                opened[index] = model.new_sequence(lengths[index])
            batch.append((opened[index], sequences[index][begin:end]))
            pooled = range(begin, end) if pooling == "mean" else range(max(begin, lengths[index] - 1), end)
            rows += [first + position - begin for position in pooled]
            owners += [index] * len(pooled)
            first += end - begin
        np.add.at(totals, owners, model.hidden_states(batch, rows))
        for index, _, end in step:
            if end == lengths[index]:
                opened.pop(index).close()
    if pooling == "mean":
        totals /= np.array(lengths)[:, None]
    return [array("f", row.tobytes()) for row in totals.astype(np.float32)]
