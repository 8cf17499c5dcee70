"""A batch of sequences with a shared KV cache: prefill in chunks and decode steps."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.prefix_cache import TorchPrefixCache
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.adapters.pytorch.ops.linear import without_onednn_for_small_batches
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState

# The tokens of one prefill pass: enough to be compute-bound, few enough to keep activations and masks small
# for prompts of any length.
_PREFILL_CHUNK = 1024
# The number of padding tokens that cost about as much as one more pass over the weights.
MAX_PADDING = 64


@attrs.define(eq=False)
class GeneratedSequence:
    """A request with its random state and generated tokens; `remaining` tokens may still be generated."""

    index: int
    request: GenerationRequest
    remaining: int
    sampler_state: SamplerState
    output_ids: list[int] = attrs.field(factory=list)


@attrs.define(eq=False)
class RunningBatch:
    """Sequences, ordered from the longest prompt to the shortest, and their KV cache.

    Attributes:
        sequences: One for each row; finished sequences stay until `retain` drops them.
        num_computed: The number of computed slots.
        prefix: The prefix cache that owns `cache`, if there is one.
    """

    model: GPT
    sequences: list[GeneratedSequence]
    cache: KVCache
    num_computed: int = 0
    prefix: TorchPrefixCache | None = None

    @torch.inference_mode()
    def prefill(self) -> Tensor:
        """Compute the logits (B, V) after each prompt."""
        end = len(self.sequences[0].request.prompt)
        while True:
            rows, stop = next_prefill_chunk(self.num_computed, end, self.cache.row_offsets)
            logits = self._forward(self._token_block(rows, stop))
            self.num_computed = stop
            if stop == end:
                return logits

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Compute the logits (B, V) after one more token per row."""
        return self._forward(torch.tensor(tokens)[:, None])

    def retain(self, rows: Sequence[int]) -> None:
        self.sequences = [self.sequences[at] for at in rows]
        self.cache.keep_rows(rows)

    def _token_block(self, rows: int, stop: int) -> Tensor:
        """Return the ids of slots `num_computed` to `stop` of the first rows, left-padded with 0."""
        block = torch.zeros((rows, stop - self.num_computed), dtype=torch.long)
        for at in range(rows):
            start = self.cache.row_offsets[at]
            ids = self.sequences[at].request.prompt[max(0, self.num_computed - start) : stop - start]
            block[at, stop - self.num_computed - len(ids) :] = torch.tensor(ids)
        return block

    def _forward(self, block: Tensor) -> Tensor:
        check_fork()
        weight = self.model.lm_head.weight
        # Autocast, which a Trainer may have enabled, would compute keys in a dtype other than the cache's.
        no_autocast = torch.autocast(weight.device.type, enabled=False)
        try:
            with (
                no_autocast,
                without_onednn_for_small_batches(
                    batch_size=block.numel(), dtype=weight.dtype, device=weight.device
                ),
            ):
                block = block.to(self.model.input_device)
                logits: Tensor = self.model(block, self.cache, last_token_only=True)
        except BaseException:
            if self.prefix is not None:
                self.prefix.close()  # the layers may have different numbers of entries
            raise
        if self.prefix is not None:
            self.prefix.tokens += block[0].tolist()
        return logits[:, -1]


def next_prefill_chunk(num_computed: int, end: int, row_offsets: Sequence[int]) -> tuple[int, int]:
    """Return the number of rows and the last slot (exclusive) of the next prefill pass.

    A row that starts within the chunk is padded. If that would cost more than another pass, the chunk ends
    where the row starts. `row_offsets` has the first slot of each row, ascending.
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
