"""The model runner of the native engine: its sequences, steps and samples."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from time import thread_time

import attrs

from litgpt.adapters.native.low_rank import NativeAdapter, no_adapter
from litgpt.adapters.native.model import PAGE_SIZE, NativeModel, NativeSequence
from litgpt.adapters.native.sampling.candidates import Logits
from litgpt.adapters.native.sampling.sampler import log_probabilities, sample, top_log_probabilities
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.scheduling.prefix_store import max_cached_pages
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.domain.scheduling.step_costs import StepCosts

_DEFAULT_CACHE_BYTES = 2**32


@attrs.frozen
class NativeRunner:
    """Implements `ModelRunner`.

    Attributes:
        random_seed: Returns the seed of a request without one.
        available_memory: The bytes that can still be allocated; None: unknown. Half of them is for the KV
            cache.
        draft: The draft model, whose KV cache has to fit as well.
        find_adapter: Returns the adapter of a name for single sequences of the model.
        costs: The time of the steps, measured in the thread that waits for them: other processes and threads
            on the same cores do not change it.
    """

    model: NativeModel
    random_seed: Callable[[], int]
    available_memory: int | None = None
    draft: NativeModel | None = None
    find_adapter: Callable[[str], NativeAdapter | None] = no_adapter
    page_size: int = PAGE_SIZE
    shares_pages: bool = True
    costs: StepCosts = attrs.field(factory=StepCosts, repr=False)

    @property
    def limits(self) -> StepLimits:
        return StepLimits()

    @property
    def num_pages(self) -> int:
        draft_bytes = 0 if self.draft is None else self.draft.page_bytes
        return max(1, self._cache_bytes // (self.model.page_bytes + draft_bytes))

    @property
    def max_cached_pages(self) -> int:
        return max_cached_pages(self.num_pages, self.model.page_bytes)

    @property
    def can_truncate(self) -> bool:
        return self.model.can_truncate

    @property
    def _cache_bytes(self) -> int:
        return _DEFAULT_CACHE_BYTES if self.available_memory is None else self.available_memory // 2

    def adapter(self, name: str | None) -> NativeAdapter | None:
        return self.model.adapter if name is None else self.find_adapter(name)

    def sharing_key(self, length: int, adapter: NativeAdapter | None = None) -> tuple[object, ...]:
        return (None if adapter is None else adapter.key, *self.model.rope_values(length))

    def sampler_state(self, request: GenerationRequest) -> SamplerState:
        return SamplerState(
            request.sampling_params,
            self.random_seed,
            request.prompt,
            request.stop_token_ids,
            request.constraint,
        )

    def new_sequence(self, length: int) -> NativeSequence:
        return self.model.new_sequence(length)

    def fork(self, sequence: NativeSequence, length: int, max_length: int) -> NativeSequence:
        del max_length  # a sequence grows by pages
        fork = sequence.fork()
        if length < fork.length:
            fork.truncate(length)
        return fork

    def step(
        self,
        batch: Sequence[tuple[NativeSequence, Sequence[int]]],
        positions: Sequence[range] | None = None,
        adapters: Sequence[NativeAdapter | None] | None = None,
    ) -> Logits:
        rows = None
        if positions is not None:
            starts = accumulate((len(tokens) for _, tokens in batch), initial=0)
            rows = [start + at for start, some in zip(starts, positions, strict=False) for at in some]
        started = thread_time()
        logits = self.model.step(batch, rows, adapters)
        self.costs.add(sum(len(tokens) for _, tokens in batch), thread_time() - started)
        return logits

    def truncate(self, sequence: NativeSequence, length: int) -> None:
        sequence.truncate(length)

    def sample(self, logits: Logits, rows: Sequence[int], states: Sequence[SamplerState]) -> list[int]:
        return sample(_select(logits, rows), states)

    def log_probabilities(self, logits: Logits, rows: Sequence[int], tokens: Sequence[int]) -> list[float]:
        return log_probabilities(_select(logits, rows), tokens)

    def top_log_probabilities(
        self, logits: Logits, rows: Sequence[int], counts: Sequence[int]
    ) -> list[dict[int, float] | None]:
        return top_log_probabilities(_select(logits, rows), counts)

    def release(self, sequence: NativeSequence) -> None:
        sequence.close()


def _select(logits: Logits, rows: Sequence[int]) -> Logits:
    return logits if len(rows) == len(logits) else logits[rows]
