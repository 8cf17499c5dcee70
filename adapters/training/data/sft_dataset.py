"""Examples as they are fed to a model: encoded once, in memory, and padded into batches."""

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
    """Lessons end to end in two arrays, so that processes that load them share the memory.

    Args:
        ignore_index: The label of what is not to be learned.

    """

    def __init__(self, ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self._ids, self._labels, self._ends = array("i"), array("i"), array("q", [0])

    def append(self, example: SFTExample) -> None:
        """Add a lesson."""
        self._ids.extend(example.token_ids)
        self._labels.extend(example.labels(self.ignore_index))
        self._ends.append(len(self._ids))

    @property
    def tokens(self) -> int:
        """The number of all tokens."""
        return len(self._ids)

    @property
    def longest(self) -> int:
        """The number of tokens in the longest lesson."""
        return int(np.diff(self._ends).max(initial=0))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < len(self):
            raise IndexError(number)
        here = slice(self._ends[number], self._ends[number + 1])
        return {"input_ids": _tensor(self._ids[here]), "labels": _tensor(self._labels[here])}


@attrs.frozen
class PadCollator:
    """Makes a batch of lessons: each is padded on the right, to the longest of them.

    Attributes:
        pad_id: What is put after the ids. Nothing sees it: attention is causal, and its label is ignored.
        ignore_index: Its label.

    """

    pad_id: int
    ignore_index: int

    def __call__(self, examples: Sequence[Batch]) -> Batch:
        """Return `input_ids` and `labels`, each (B, T)."""
        fill = {"input_ids": self.pad_id, "labels": self.ignore_index}
        return {
            name: torch.nn.utils.rnn.pad_sequence(
                [one[name] for one in examples], batch_first=True, padding_value=value
            )
            for name, value in fill.items()
        }


def _tensor(numbers: "array[int]") -> Tensor:
    return torch.from_numpy(np.frombuffer(numbers, dtype=np.intc).astype(np.int64))
