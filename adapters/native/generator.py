"""Generation with the native engine: requests of all threads run in one batch."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import attrs

from litgpt.adapters.native.low_rank import NativeAdapter, no_adapter
from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.read_bandwidth import read_bandwidth
from litgpt.adapters.native.runner import NativeRunner
from litgpt.application.concurrency.shared_engine import EngineStream, SharedEngine
from litgpt.domain.generation.batching import check_prompt, checked_requests, requested_adapters
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scheduling.drafts.draft_model import DraftModel
from litgpt.domain.scheduling.engine import Engine

if TYPE_CHECKING:
    from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
    from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores


@attrs.define(eq=False)
class NativeGenerator:
    """Generates text with a model of the engine.

    Attributes:
        random_seed: Returns the seed of a request without one.
        kv_cache_size: That of `Placement`; it limits the context, but no cache is allocated in advance.
        available_memory: The bytes that can still be allocated; None: unknown.
        draft: A smaller model with the same vocabulary, which proposes tokens.
        find_adapter: Returns the adapter of a name for single requests.
    """

    model: NativeModel
    random_seed: Callable[[], int]
    kv_cache_size: int | Literal["max"] | None = None
    available_memory: int | None = None
    draft: NativeModel | None = None
    find_adapter: Callable[[str], NativeAdapter | None] = no_adapter
    _engine: SharedEngine = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._engine = SharedEngine(self.open())

    @property
    def context(self) -> int:
        longest = self.model.architecture.context_length
        return min(longest, self.kv_cache_size) if isinstance(self.kv_cache_size, int) else longest

    def max_decode_speed(self) -> float:
        return read_bandwidth() / self.model.bytes_per_token

    def open(self) -> Engine:
        runner = NativeRunner(
            self.model, self.random_seed, self.available_memory, self.draft, self.find_adapter
        )
        return Engine(runner, self.context, self._drafter(runner))

    def generate(self, requests: Iterable[GenerationRequest | None]) -> EngineStream:
        vocab_size = self.model.architecture.vocab_size
        requests = checked_requests(requests, self.context, vocab_size)
        for adapter in requested_adapters(requests):
            self.find_adapter(adapter)
        return EngineStream(self._engine, requests)

    def score(self, requests: "Sequence[ScoringRequest]") -> "list[TokenScores]":
        from litgpt.adapters.native.sampling.scorer import Scorer
        from litgpt.application.scoring.by_adapter import score_by_adapter
        from litgpt.domain.scoring.request import check_sequences

        check_sequences([it.ids for it in requests], self.context, self.model.architecture.vocab_size)
        models: dict[str | None, NativeModel] = {None: self.model}
        for adapter in {it.adapter for it in requests if it.adapter is not None}:
            models[adapter] = self.model.with_adapter(self.find_adapter(adapter))
        return score_by_adapter(requests, lambda adapter, own: Scorer(models[adapter], own).run())

    def embed(self, sequences: Sequence[Sequence[int]], pooling: "Pooling") -> "list[array[float]]":
        from litgpt.adapters.native.sampling.embedding import embed
        from litgpt.domain.scoring.request import check_sequences

        check_sequences(sequences, self.context, self.model.architecture.vocab_size)
        return embed(self.model, sequences, pooling)

    def beam_search(self, requests: "Sequence[BeamSearchRequest]") -> "list[list[Beam]]":
        from litgpt.adapters.native.sampling.beams import NativeBeams
        from litgpt.domain.beam_search.run import run_beam_search

        for request in requests:
            check_prompt(request.prompt, self.context, self.model.architecture.vocab_size)
        return run_beam_search(NativeBeams(self.model), requests, self.context)

    def _drafter(self, runner: NativeRunner) -> DraftModel | None:
        if self.draft is None:
            return None
        own, other = self.draft.architecture, self.model.architecture
        vocab_size = min(own.vocab_size, other.vocab_size)
        drafting = NativeRunner(self.draft, self.random_seed, self.available_memory)
        return DraftModel(drafting, runner.costs, own.context_length, vocab_size)

    def close(self) -> None:
        """End all requests and free the KV cache."""
        self._engine.close()
