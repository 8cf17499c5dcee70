"""The in-memory dataset of encoded examples, and the padding collator."""

from array import array
from collections.abc import Sequence

import attrs
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from litgpt.domain.training.sft_example import SFTExample

Batch = dict[str, Tensor]


class SFTDataset(Dataset[Batch]):
    """Encoded examples, concatenated in two arrays whose memory DataLoader workers share."""

    def __init__(self, ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self._ids, self._labels, self._ends = array("i"), array("i"), array("q", [0])

    def append(self, example: SFTExample) -> None:
        self._ids.extend(example.token_ids)
        self._labels.extend(example.labels(self.ignore_index))
        self._ends.append(len(self._ids))

    @property
    def tokens(self) -> int:
        return len(self._ids)

    @property
    def longest(self) -> int:
        return int(np.diff(self._ends).max(initial=0))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(index)
        tokens = slice(self._ends[index], self._ends[index + 1])
        return {"input_ids": _tensor(self._ids[tokens]), "labels": _tensor(self._labels[tokens])}


@attrs.frozen
class PadCollator:
    """Collates examples into a batch, right-padded to the longest example.

    No token attends to the padding, because attention is causal.
    """

    pad_id: int
    ignore_index: int

    def __call__(self, examples: Sequence[Batch]) -> Batch:
        fill = {"input_ids": self.pad_id, "labels": self.ignore_index}
        return {
            name: torch.nn.utils.rnn.pad_sequence(
                [example[name] for example in examples], batch_first=True, padding_value=value
            )
            for name, value in fill.items()
        }


def _tensor(numbers: "array[int]") -> Tensor:
    return torch.from_numpy(np.frombuffer(numbers, dtype=np.intc).astype(np.int64))
