"""Generation with the native engine: requests of all threads run in one batch."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import attrs

from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.read_bandwidth import read_bandwidth
from litgpt.adapters.native.runner import NativeRunner
from litgpt.adapters.native.sampling.beams import NativeBeams
from litgpt.adapters.native.sampling.embedding import embed
from litgpt.adapters.native.sampling.scorer import Scorer
from litgpt.application.concurrency.shared_engine import EngineStream, SharedEngine
from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
from litgpt.domain.beam_search.run import run_beam_search
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.batching import check_prompt, checked_requests, count_requests
from litgpt.domain.generation.cached_tokens import CachedTokens
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.ports.generator import PrefixCache
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores, check_sequences


@attrs.define(eq=False)
class NativeGenerator:
    """Generates text with a model of the engine.

    Attributes:
        random_seed: Returns the seed of a request without one.
        kv_cache_size: That of `Placement`; it limits the context, but no cache is allocated in advance.
        available_memory: The bytes that can still be allocated; None: unknown.
    """

    model: NativeModel
    random_seed: Callable[[], int]
    kv_cache_size: int | Literal["max"] | None = None
    available_memory: int | None = None
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
        return Engine(NativeRunner(self.model, self.random_seed, self.available_memory), self.context)

    def prefix_cache(self) -> CachedTokens:
        return CachedTokens()

    def generate(
        self, requests: Iterable[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> EngineStream:
        requests = checked_requests(requests, self.context, self.model.architecture.vocab_size)
        if prefix is not None and not isinstance(prefix, CachedTokens):
            raise InvalidArgument("prefix", prefix, "a prefix cache of this generator")
        if prefix is not None:
            prefix.take(requests)
        numbered = ((at, request) for at, request in enumerate(requests) if request.max_new_tokens > 0)
        return EngineStream(self._engine, numbered, count_requests(requests), prefix)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        check_sequences([it.ids for it in requests], self.context, self.model.architecture.vocab_size)
        return Scorer(self.model, requests).run()

    def embed(self, sequences: Sequence[Sequence[int]], pooling: Pooling) -> "list[array[float]]":
        check_sequences(sequences, self.context, self.model.architecture.vocab_size)
        return embed(self.model, sequences, pooling)

    def beam_search(self, requests: Sequence[BeamSearchRequest]) -> list[list[Beam]]:
        for request in requests:
            check_prompt(request.prompt, self.context, self.model.architecture.vocab_size)
        return run_beam_search(NativeBeams(self.model), requests, self.context)

    def close(self) -> None:
        """End all requests and free the KV cache."""
        self._engine.close()
