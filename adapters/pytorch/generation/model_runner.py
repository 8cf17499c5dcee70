"""The model runner of the torch engine: its sequences, steps and samples."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.cache_capacity import bytes_per_token, cache_capacity
from litgpt.adapters.pytorch.generation.running_batch import TorchSequence
from litgpt.adapters.pytorch.generation.sampler import log_probabilities, sample, top_log_probabilities
from litgpt.adapters.pytorch.generation.sequence_batches import SequenceBatches
from litgpt.adapters.pytorch.lora.module_hook import RequestAdapter, computing_with
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory
from litgpt.adapters.pytorch.runtime.random_seed import random_seed
from litgpt.domain.errors import InsufficientSpace, UnsupportedOperation
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.lora.config import unknown_adapter
from litgpt.domain.model import RopeSpec
from litgpt.domain.scheduling.prefix_store import max_cached_pages
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.domain.scheduling.step_costs import StepCosts

GENERATION = "Generating"
_LIMITS = StepLimits(
    # A prompt is a forward pass of its own, which reads all weights, so it is computed in few large parts.
    prefill_tokens=1024,
    shared_step_tokens=256,
)

_WHOLE_PROMPTS = attrs.evolve(_LIMITS, prefill_tokens=2**30, shared_step_tokens=2**30)


def ropes(model: CausalLM, length: int) -> tuple[RopeSpec | None, ...]:
    """Return the RoPE of each layer for a sequence of at most `length` tokens."""
    specs = (layer.mixer.rope for layer in model.architecture.layers)
    return tuple(None if rope is None else rope.for_length(length) for rope in specs)


def find_adapter(model: CausalLM, name: str) -> RequestAdapter:
    """Return the adapter of a name, for single requests.

    Raises:
        InvalidArgument: No adapter has this name.
        UnsupportedOperation: An adapter is merged into the weights.
    """
    adapter: RequestAdapter | None = model.adapters.get(name)
    if adapter is None:
        raise unknown_adapter(name, [*model.adapters], "adapter")
    if adapter.active.merged is not None:
        reason = f"{adapter.active.merged!r} is merged. Call unmerge_adapter() first."
        raise UnsupportedOperation("Using an adapter for single requests", reason)
    return adapter


@attrs.frozen(eq=False)
class TorchModelRunner:
    """Implements `ModelRunner`.

    Attributes:
        fixed_length: See `SequenceBatches`.
        capacity: The number of tokens for which there is memory in the KV cache.
        costs: Stays empty: steps on a GPU end after `step` has returned.
    """

    model: CausalLM
    fixed_length: int | None = None
    capacity: int = attrs.field(
        default=attrs.Factory(lambda self: cache_capacity(self.model), takes_self=True)
    )
    page_size: int = 16
    shares_pages: bool = False
    costs: StepCosts = attrs.field(factory=StepCosts, init=False, repr=False)
    batches: SequenceBatches = attrs.field(
        default=attrs.Factory(lambda self: SequenceBatches(self.model, self.fixed_length), takes_self=True),
        init=False,
        repr=False,
    )
    _adapted: "weakref.WeakKeyDictionary[RequestAdapter, SequenceBatches]" = attrs.field(
        factory=weakref.WeakKeyDictionary, init=False, repr=False
    )
    _batches_of: dict[TorchSequence, SequenceBatches] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def limits(self) -> StepLimits:
        return _LIMITS if self.model.divides_prompts else _WHOLE_PROMPTS

    @property
    def num_pages(self) -> int:
        return max(1, self.capacity // self.page_size)

    @property
    def max_cached_pages(self) -> int:
        page_bytes = self.page_size * bytes_per_token(self.model).total()
        return max_cached_pages(self.num_pages, page_bytes)

    @property
    def can_truncate(self) -> bool:
        return self.model.architecture.can_truncate_cache

    def adapter(self, name: str | None) -> RequestAdapter | None:
        return None if name is None else find_adapter(self.model, name)

    def sharing_key(self, length: int, adapter: RequestAdapter | None = None) -> tuple[object, ...]:
        return (None if adapter is None else adapter.key, *ropes(self.model, length))

    def sampler_state(self, request: GenerationRequest) -> SamplerState:
        return SamplerState(
            request.sampling_params,
            lambda: self.model.rank0_value(random_seed()),
            request.prompt,
            request.stop_token_ids,
            request.constraint,
        )

    def new_sequence(self, length: int) -> TorchSequence:
        return TorchSequence(length)

    def fork(self, sequence: TorchSequence, length: int, max_length: int) -> TorchSequence:
        batches = self._batches_of[sequence]
        with self._memory_errors():
            fork = batches.fork(sequence, length, max_length)
        self._batches_of[fork] = batches
        return fork

    def step(
        self,
        batch: Sequence[tuple[TorchSequence, Sequence[int]]],
        positions: Sequence[range] | None = None,
        adapters: Sequence[RequestAdapter | None] | None = None,
    ) -> Tensor:
        """Return logits as `ModelRunner.step` does.

        The rows of an adapter have forward passes of their own, since a pass applies one adapter to all
        kinds of layers.
        """
        rows_of: dict[RequestAdapter | None, list[int]] = {}
        for row in range(len(batch)):
            rows_of.setdefault(None if adapters is None else adapters[row], []).append(row)
        logits = []
        for adapter, rows in rows_of.items():
            own = [batch[row] for row in rows]
            at = None if positions is None else [positions[row] for row in rows]
            batches = self._batches(adapter)
            self._batches_of.update((sequence, batches) for sequence, _ in own)
            with self._memory_errors(), computing_with(adapter):
                logits.append(batches.step(own, at))
        counts = [1 if positions is None else len(positions[row]) for row in range(len(batch))]
        return logits[0] if len(logits) == 1 else _in_order(logits, [*rows_of.values()], counts)

    def truncate(self, sequence: TorchSequence, length: int) -> None:
        with self._memory_errors():
            self._batches_of[sequence].truncate(sequence, length)

    def sample(self, logits: Tensor, rows: Sequence[int], states: Sequence[SamplerState]) -> list[int]:
        with self._memory_errors():
            return sample(_select(logits, rows), states)

    def log_probabilities(self, logits: Tensor, rows: Sequence[int], tokens: Sequence[int]) -> list[float]:
        with self._memory_errors():
            return log_probabilities(_select(logits, rows), tokens)

    def top_log_probabilities(
        self, logits: Tensor, rows: Sequence[int], counts: Sequence[int]
    ) -> list[dict[int, float] | None]:
        with self._memory_errors():
            return top_log_probabilities(_select(logits, rows), counts)

    def release(self, sequence: TorchSequence) -> None:
        batches = self._batches_of.pop(sequence, None)
        if batches is not None:
            batches.release(sequence)

    def _batches(self, adapter: RequestAdapter | None) -> SequenceBatches:
        if adapter is None:
            return self.batches
        return self._adapted.setdefault(adapter, SequenceBatches(self.model))

    @contextmanager
    def _memory_errors(self) -> Iterator[None]:
        """Translate errors of allocations; an engine recovers from them unless other ranks would not."""
        try:
            with translate_out_of_memory(GENERATION):
                yield
        except InsufficientSpace as error:
            if self.model.runs_on_each_rank:
                raise UnsupportedOperation(error.requested, error.reason) from error.__cause__
            raise


def _in_order(logits: Sequence[Tensor], rows: Sequence[Sequence[int]], counts: Sequence[int]) -> Tensor:
    """Return the logits of groups of sequences (R, V) in the order of all sequences.

    Args:
        logits: The logits of each group.
        rows: The numbers of the sequences of each group.
        counts: The number of logits of each sequence.
    """
    order = [row for group in rows for row in group]
    starts = dict(zip(order, accumulate((counts[row] for row in order), initial=0), strict=False))
    index = [starts[row] + at for row, count in enumerate(counts) for at in range(count)]
    return torch.cat(list(logits))[index]


def _select(logits: Tensor, rows: Sequence[int]) -> Tensor:
    return logits if len(rows) == len(logits) else logits[list(rows)]
