"""Several prompts going through the network together."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.adapters.pytorch.forking import check_fork
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.linear import fastest_matmul
from litgpt.adapters.pytorch.prefix import TorchPrefixCache
from litgpt.adapters.pytorch.sampling import Draws
from litgpt.domain.generation import Request

# Tokens that go through the network at once in prefill: enough to be bound by arithmetic, few enough that
# activations and masks stay small however long the prompt is.
_CHUNK = 1024
# Padding tokens that cost about as much as reading all weights once more.
_PADDING = 64


@attrs.define(eq=False)
class Row:
    """One answer in the making.

    Attributes:
        index: Which request it answers.
        request: What was asked.
        left: How many tokens it may still get.
        draws: Its random state.
        answer: The tokens so far.

    """

    index: int
    request: Request
    left: int
    draws: Draws
    answer: list[int] = attrs.field(factory=list)


@attrs.define(eq=False)
class Batch:
    """Rows, from the longest prompt to the shortest, and their cache.

    Attributes:
        model: The network.
        rows: The answers in the making; those with nothing `left` are carried along until `keep` drops them.
        cache: As many rows.
        done: How many slots of the cache were computed before.
        prefix: Where the cache came from and stays, if the caller keeps one.
        prompts: How many rows there were at first.

    """

    model: GPT
    rows: list[Row]
    cache: KVCache
    done: int = 0
    prefix: TorchPrefixCache | None = None
    prompts: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.prompts = len(self.rows)

    @torch.inference_mode()
    def prefill(self) -> Tensor:
        """Return the logits (B, V) after each prompt."""
        end = len(self.rows[0].request.prompt)
        while True:
            rows, stop = next_block(self.done, end, self.cache.starts)
            logits = self._forward(self._block(rows, stop))
            self.done = stop
            if stop == end:
                return logits

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int]) -> Tensor:
        """Return the logits (B, V) after these tokens, one a row."""
        return self._forward(torch.tensor(tokens)[:, None])

    def keep(self, going: Sequence[int]) -> None:
        """Drop all rows but these."""
        self.rows = [self.rows[at] for at in going]
        self.cache.keep_rows(going)

    def release(self) -> None:
        """Let the prefix cache be used by the next answer."""
        if self.prefix is not None:
            self.prefix.busy = False

    def _block(self, rows: int, stop: int) -> Tensor:
        """Return the ids of slots `done` to `stop` of the first rows; 0 where a row has not begun."""
        block = torch.zeros((rows, stop - self.done), dtype=torch.long)
        for at in range(rows):
            start = self.cache.starts[at]
            ids = self.rows[at].request.prompt[max(0, self.done - start) : stop - start]
            block[at, stop - self.done - len(ids) :] = torch.tensor(ids)
        return block

    def _forward(self, block: Tensor) -> Tensor:
        check_fork()
        weight = self.model.lm_head.weight
        # Autocast, where a Trainer has it on, would make keys in another dtype than the cache's.
        as_it_is = torch.autocast(weight.device.type, enabled=False)
        try:
            with as_it_is, fastest_matmul(rows=block.numel(), dtype=weight.dtype, device=weight.device):
                logits: Tensor = self.model(block.to(self.model.input_device), self.cache, last=True)
        except BaseException:
            if self.prefix is not None:
                self.prefix.close()  # some layers may have written what others have not
            raise
        if self.prefix is not None:
            self.prefix.tokens += block[0].tolist()
        return logits[:, -1]


def next_block(done: int, end: int, starts: Sequence[int]) -> tuple[int, int]:
    """Return how many rows go through the network next, and up to which slot.

    A row that begins within the block is padded; when that would cost more than another pass, the block ends
    where the row begins.

    Args:
        done: How many slots are computed.
        end: How many are to be.
        starts: The first slot of each row, ascending.

    """
    stop, padding = end, 0
    for start in starts:
        padding += max(0, start - done)
        if padding > _PADDING:
            stop = start
            break
    rows = sum(start < stop for start in starts)
    stop = min(stop, done + max(1, _CHUNK // rows))
    return sum(start < stop for start in starts), stop
