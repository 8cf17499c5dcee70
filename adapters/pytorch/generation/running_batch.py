"""A batch of sequences with a shared KV cache, which sequences can join and leave."""

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.inference import inference
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork

# The tokens of one prefill pass: enough to be compute-bound, few enough to keep activations and masks small
# for prompts of any length.
_PREFILL_CHUNK = 1024
# The number of padding tokens that cost about as much as one more pass over the weights.
MAX_PADDING = 64


@attrs.frozen(eq=False)
class TorchSequence:
    """A sequence of tokens whose keys and values are in a row of a `RunningBatch`.

    Attributes:
        max_length: Its maximum number of tokens, prompt and answer; dynamic NTK and LongRoPE depend on it.
    """

    max_length: int


@attrs.define(eq=False)
class RunningBatch:
    """Sequences and their KV cache.

    Attributes:
        sequences: One for each row; None where the sequence has left, until `compact`.
        is_fixed: Whether the KV cache was allocated with its largest size.
    """

    model: CausalLM
    cache: KVCache
    sequences: list[TorchSequence | None]
    is_fixed: bool = False

    @classmethod
    def empty(cls, model: CausalLM) -> "RunningBatch":
        return cls(model, model.empty_cache(max_length=0, row_offsets=[]), [])

    @property
    def running(self) -> list[TorchSequence]:
        """The sequences that have not left."""
        return [sequence for sequence in self.sequences if sequence is not None]

    def forward(self, tokens: Sequence[Sequence[int]], num_logits: int = 1) -> Tensor:
        """Append tokens to each row and return the logits (B, N, V) after the last N ones.

        Rows may have different numbers of tokens only in the first call: the KV cache is left-padded.
        """
        end = self.cache.length + max(map(len, tokens))
        last: list[Tensor] = []
        while True:
            begin = self.cache.length
            rows, stop = len(tokens), end
            if self.model.divides_prompts:
                rows, stop = next_prefill_chunk(begin, end, self.cache.row_offsets)
            block = []
            for ids in tokens[:rows]:
                chunk = list(ids[max(0, len(ids) + begin - end) : len(ids) + stop - end])
                block.append([0] * (stop - begin - len(chunk)) + chunk)
            last = [*last[len(last) + 1 - num_logits :], self._forward(torch.tensor(block), num_logits)]
            if stop == end:
                return last[0] if len(last) == 1 else torch.cat(last, dim=1)[:, -num_logits:]

    def join(self, source: "RunningBatch", joining: Sequence[TorchSequence]) -> None:
        """Move sequences of another batch to this one, first into the rows of sequences that have left."""
        source_rows = [source.sequences.index(sequence) for sequence in joining]
        free = [row for row, sequence in enumerate(self.sequences) if sequence is None]
        added = range(len(self.sequences), len(self.sequences) + len(joining))
        rows = [*free, *added][: len(joining)]
        self.cache.join(source.cache, source_rows, rows)
        for row, source_row, sequence in zip(rows, source_rows, joining, strict=True):
            self.sequences[row : row + 1] = [sequence]
            source.sequences[source_row] = None

    def split(self, leaving: Sequence[TorchSequence]) -> "RunningBatch":
        """Move sequences to a new batch and return it."""
        batch = RunningBatch.empty(self.model)
        batch.join(self, leaving)
        return batch

    def copy_row(self, sequence: TorchSequence, length: int, copy: TorchSequence) -> "RunningBatch":
        """Return a batch with a copy of the first `length` tokens of a sequence.

        They are all of its tokens if a layer has a sliding window or a recurrent state.
        """
        batch = RunningBatch.empty(self.model)
        row = self.sequences.index(sequence)
        end = self.cache.row_offsets[row] + length
        batch.cache.join(self.cache, [row], [0], end=end if end < self.cache.length else None)
        batch.cache.set_limits(
            max_length=batch.cache.row_offsets[0] + copy.max_length - 1, lengths=[copy.max_length]
        )
        batch.sequences.append(copy)
        return batch

    def drop_last(self, counts: Mapping[TorchSequence, int]) -> None:
        """Remove the last tokens of some sequences, from which drafts were rejected.

        The rows end at the same slot afterwards as well, so those that lose more tokens than others move.
        """
        of_rows = {row: counts.get(it, 0) for row, it in enumerate(self.sequences) if it is not None}
        least = min(of_rows.values())
        is_truncated = self.cache.truncate(self.cache.length - least)
        assert is_truncated  # noqa: S101 - no layer has a sliding window or a recurrent state
        for shift in {count - least for count in of_rows.values()} - {0}:
            rows = [row for row, count in of_rows.items() if count - least == shift]
            self.cache.join(self.cache, rows, rows, end=self.cache.length - shift)

    def compact(self) -> None:
        """Drop the rows of sequences that have left; the last rows take their places."""
        rows = list(range(len(self.running)))
        if len(rows) == len(self.sequences):
            return
        last = [row for row in range(len(rows), len(self.sequences)) if self.sequences[row] is not None]
        rows = [row if self.sequences[row] is not None else last.pop() for row in rows]
        self.cache.keep_rows(rows)
        self.sequences = [self.sequences[row] for row in rows]

    def _forward(self, block: Tensor, num_logits: int) -> Tensor:
        check_fork()
        with inference(self.model, block.numel()):
            block = block.to(self.model.input_device)
            logits: Tensor = self.model(block, self.cache, last_token_only=num_logits == 1)
        return logits[:, -num_logits:]


def next_prefill_chunk(num_computed: int, end: int, row_offsets: Sequence[int]) -> tuple[int, int]:
    """Return the number of rows and the last slot (exclusive) of the next prefill pass.

    A row that starts within the chunk is padded. If that would cost more than another pass, the chunk ends
    where the row starts. `row_offsets` has the first slot of each row; the rows that start after
    `num_computed` are last, ascending.
    """
    stop, padding = end, 0
    for start in row_offsets:
        padding += max(0, start - num_computed)
        if padding > MAX_PADDING:
            stop = start
            break
    rows = sum(start < stop for start in row_offsets)
    stop = min(stop, num_computed + max(1, _PREFILL_CHUNK // rows))
    return sum(start < stop for start in row_offsets), stop
