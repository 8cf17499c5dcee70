"""A request in the engine."""

import heapq
from collections.abc import Hashable
from typing import Any

import attrs

from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.scheduling.page_table import Pages

_MAX_DECODED = 16
"""The tokens of an answer that one step computes, beside a draft. More are computed as those of a prompt are,
so that they do not hold up other answers."""


@attrs.define(eq=False)
class ScheduledSequence:
    """The tokens of a request, of which the engine has computed the first.

    A sequence is decoding if all of its tokens are computed but a few of its answer: the last one that was
    sampled, and those that its constraint has forced after it. A preempted sequence has no KV cache; its
    tokens are computed again.

    Attributes:
        index: The number of the request in the engine.
        tokens: The prompt and the generated tokens.
        max_length: The largest number of tokens that it may have.
        adapter: The adapter of the model runner with which it is computed.
        handle: The sequence of the model runner; None while it is waiting.
        num_computed: The number of tokens whose keys and values are in the KV cache.
        num_cached: The number of tokens of the prompt that were taken from the prefix cache.
        checkpoints: Lengths at which a step must end, because another sequence forks there.
        sharing_key: Sequences with equal keys can share a prefix; None: with no other.
        parent: The sequence or cached prefix whose first `fork_length` tokens this one shares.
        snapshot_length: The length at which a copy is kept as a cached prefix; 0: none.
        draft: Tokens that may follow, which the next step verifies.
        drafter: The `Drafter` that has proposed them.
        num_drafted: The number of generated tokens that were accepted from drafts.
        is_running: Whether it has been admitted.
    """

    index: int
    request: GenerationRequest
    tokens: list[int] = attrs.field(repr=False)
    max_length: int
    sampler_state: SamplerState = attrs.field(repr=False)
    adapter: Any = attrs.field(default=None, repr=False)
    handle: Any = None
    pages: Pages = attrs.field(factory=Pages, repr=False)
    num_computed: int = 0
    num_cached: int = 0
    checkpoints: list[int] = attrs.field(factory=list)
    sharing_key: Hashable = None
    parent: Any = attrs.field(default=None, repr=False)
    fork_length: int = 0
    snapshot_length: int = 0
    draft: list[int] = attrs.field(factory=list)
    drafter: Any = attrs.field(default=None, repr=False)
    num_drafted: int = 0
    is_running: bool = False
    is_finished: bool = False

    @property
    def num_pending(self) -> int:
        """The number of tokens that are not computed yet, at least one."""
        return len(self.tokens) - self.num_computed

    @property
    def is_decoding(self) -> bool:
        return self.num_pending <= _MAX_DECODED and self.num_computed >= len(self.request.prompt)

    @property
    def is_prefix_pending(self) -> bool:
        """Whether the prefix that this sequence will share is still being computed."""
        parent = self.parent
        return parent is not None and parent.num_computed < self.fork_length and parent.is_running

    def next_tokens(self, count: int) -> list[int]:
        """Return the first `count` tokens to compute, those of the draft after the others."""
        return [*self.tokens[self.num_computed :], *self.draft][:count]

    def logit_positions(self, count: int) -> range:
        """Return the tokens of a step of `count` tokens after which the next one is sampled."""
        return range(count - len(self.draft) - 1, count)

    def step_size(self, limit: int) -> int:
        """Return the number of tokens of the next step, at most `limit`."""
        end = min((at for at in self.checkpoints if at > self.num_computed), default=len(self.tokens))
        return min(limit, end - self.num_computed)


@attrs.define(eq=False)
class WaitingQueue:
    """Waiting sequences by arrival and priority.

    A request is treated as if it had arrived `PRIORITY_STEP` requests later per unit of its priority, so it
    is overtaken by a bounded number of requests, and none waits forever.
    """

    PRIORITY_STEP = 1024

    _heap: list[tuple[int, int, ScheduledSequence]] = attrs.field(factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, sequence: ScheduledSequence) -> None:
        rank = sequence.index + self.PRIORITY_STEP * sequence.request.priority
        heapq.heappush(self._heap, (rank, sequence.index, sequence))

    def pop(self) -> ScheduledSequence | None:
        """Remove and return the next sequence that is not finished, or None."""
        while self._heap:
            sequence = heapq.heappop(self._heap)[2]
            if not sequence.is_finished:
                return sequence
        return None
