"""Several prompts going through the network together."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.prefix_cache import TorchPrefixCache
from litgpt.adapters.pytorch.generation.sampler import SamplerState
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.adapters.pytorch.ops.linear import without_onednn_for_small_batches
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.domain.generation.request import GenerationRequest

# Tokens that go through the network at once in prefill: enough to be bound by arithmetic, few enough that
# activations and masks stay small however long the prompt is.
_PREFILL_CHUNK = 1024
# Padding tokens that cost about as much as reading all weights once more.
MAX_PADDING = 64


@attrs.define(eq=False)
class GeneratedSequence:
    """One answer in the making.

    Attributes:
        index: Which request it answers.
        request: What was asked.
        remaining: How many tokens it may still get.
        sampler_state: Its random state.
        output_ids: The tokens so far.

    """

    index: int
    request: GenerationRequest
    remaining: int
    sampler_state: SamplerState
    output_ids: list[int] = attrs.field(factory=list)


@attrs.define(eq=False)
class RunningBatch:
    """Rows, from the longest prompt to the shortest, and their cache.

    Attributes:
        model: The network.
        sequences: The answers in the making; those with nothing `left` are carried along until `retain` drops
            them.
        cache: As many rows.
        num_computed: How many slots of the cache were computed before.
        prefix: Where the cache came from and stays, if the caller keeps one.

    """

    model: GPT
    sequences: list[GeneratedSequence]
    cache: KVCache
    num_computed: int = 0
    prefix: TorchPrefixCache | None = None

    @torch.inference_mode()
    def prefill(self) -> Tensor:
        """Return the logits (B, V) after each prompt."""
        end = len(self.sequences[0].request.prompt)
        while True:
            rows, stop = next_prefill_chunk(self.num_computed, end, self.cache.row_offsets)
            logits = self._forward(self._token_block(rows, stop))
            self.num_computed = stop
            if stop == end:
                return logits

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Return the logits (B, V) after these tokens, one a row."""
        return self._forward(torch.tensor(tokens)[:, None])

    def retain(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self.sequences = [self.sequences[at] for at in rows]
        self.cache.keep_rows(rows)

    def _token_block(self, rows: int, stop: int) -> Tensor:
        """Return the ids of slots `done` to `stop` of the first rows; 0 where a row has not begun."""
        block = torch.zeros((rows, stop - self.num_computed), dtype=torch.long)
        for at in range(rows):
            start = self.cache.row_offsets[at]
            ids = self.sequences[at].request.prompt[max(0, self.num_computed - start) : stop - start]
            block[at, stop - self.num_computed - len(ids) :] = torch.tensor(ids)
        return block

    def _forward(self, block: Tensor) -> Tensor:
        check_fork()
        weight = self.model.lm_head.weight
        # Autocast, where a Trainer has it on, would make keys in another dtype than the cache's.
        as_it_is = torch.autocast(weight.device.type, enabled=False)
        try:
            with (
                as_it_is,
                without_onednn_for_small_batches(
                    batch_size=block.numel(), dtype=weight.dtype, device=weight.device
                ),
            ):
                block = block.to(self.model.input_device)
                logits: Tensor = self.model(block, self.cache, last_token_only=True)
        except BaseException:
            if self.prefix is not None:
                self.prefix.close()  # some layers may have written what others have not
            raise
        if self.prefix is not None:
            self.prefix.tokens += block[0].tolist()
        return logits[:, -1]


def next_prefill_chunk(num_computed: int, end: int, row_offsets: Sequence[int]) -> tuple[int, int]:
    """Return how many rows go through the network next, and up to which slot.

    A row that begins within the block is padded; when that would cost more than another pass, the block ends
    where the row begins.

    Args:
        num_computed: How many slots are computed.
        end: How many are to be.
        row_offsets: The first slot of each row, ascending.

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
