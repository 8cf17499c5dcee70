"""Generation with the torch engine: requests of all threads run in one batch."""

import threading
from array import array
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Literal

import attrs

from litgpt.adapters.pytorch.generation.model_runner import GENERATION, TorchModelRunner, find_adapter, ropes
from litgpt.adapters.pytorch.generation.non_finite import first_non_finite
from litgpt.adapters.pytorch.generation.scoring.beams import TorchBeams
from litgpt.adapters.pytorch.generation.scoring.embedding import embed
from litgpt.adapters.pytorch.generation.scoring.scorer import Scorer
from litgpt.adapters.pytorch.lora.module_hook import computing_with
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.ops.tensor_versions import written_versions
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory
from litgpt.application.concurrency.shared_engine import EngineStream, SharedEngine
from litgpt.application.scoring.by_adapter import score_by_adapter
from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
from litgpt.domain.beam_search.run import run_beam_search
from litgpt.domain.generation.batching import check_prompt, checked_requests, requested_adapters
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores, check_sequences


@attrs.define(eq=False)
class TorchGenerator:
    """Generates text with a model. `kv_cache_size` is that of `Placement`.

    An engine, with its cached prefixes, serves one version of the weights.
    """

    model: CausalLM
    kv_cache_size: int | Literal["max"] | None = None
    _engine: SharedEngine | None = attrs.field(default=None, init=False, repr=False)
    _weights: object = attrs.field(default=None, init=False, repr=False)
    _opening: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __reduce__(self) -> tuple[type["TorchGenerator"], tuple[object, ...]]:
        return TorchGenerator, (self.model, self.kv_cache_size)  # a copy of a model has its own engine

    @property
    def context(self) -> int:
        longest = self.model.architecture.context_length
        return min(longest, self.kv_cache_size) if isinstance(self.kv_cache_size, int) else longest

    def max_decode_speed(self) -> None:
        return None

    def open(self) -> Engine:
        fixed_length = None if self.kv_cache_size is None else self.context
        return Engine(TorchModelRunner(self.model, fixed_length), self.context)

    def generate(self, requests: Iterable[GenerationRequest | None]) -> "TorchStream":
        check_fork()
        requests = checked_requests(requests, self.context, self.model.architecture.vocab_size)
        for adapter in requested_adapters(requests):
            find_adapter(self.model, adapter)
        return TorchStream(self.model, self._current_engine(), requests)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        check_fork()
        check_sequences([it.ids for it in requests], self.context, self.model.architecture.vocab_size)
        names = {it.adapter for it in requests if it.adapter is not None}
        adapters = {name: find_adapter(self.model, name) for name in names}

        def score(adapter: str | None, own: Sequence[ScoringRequest]) -> list[TokenScores]:
            with computing_with(None if adapter is None else adapters[adapter]):
                return Scorer(self.model, own, partial(ropes, self.model)).run()

        with translate_out_of_memory("Scoring"), self.model.generation_context():
            return score_by_adapter(requests, score)

    def embed(self, sequences: Sequence[Sequence[int]], pooling: Pooling) -> "list[array[float]]":
        check_fork()
        check_sequences(sequences, self.context, self.model.architecture.vocab_size)
        with translate_out_of_memory("Embedding"), self.model.generation_context():
            return embed(self.model, sequences, pooling)

    def beam_search(self, requests: Sequence[BeamSearchRequest]) -> list[list[Beam]]:
        check_fork()
        for request in requests:
            check_prompt(request.prompt, self.context, self.model.architecture.vocab_size)
        with translate_out_of_memory(GENERATION), self.model.generation_context():
            return run_beam_search(TorchBeams(self.model), requests, self.context)

    def close(self) -> None:
        """End all requests and free the KV cache."""
        with self._opening:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _current_engine(self) -> SharedEngine:
        tensors = (*self.model.parameters(), *self.model.buffers())
        weights = self.model.adapter, written_versions(tensors)
        with self._opening:
            if self._engine is None or weights != self._weights:
                self._engine, self._weights = SharedEngine(self.open()), weights
            return self._engine


class TorchStream(EngineStream):
    """The events of requests, with the cause of logits that are not finite."""

    def __init__(
        self, model: CausalLM, engine: SharedEngine, requests: Iterable[GenerationRequest | None]
    ) -> None:
        super().__init__(engine, requests)
        self._model = model
        self._contexts: ExitStack | None = None

    def __next__(self) -> TokenEvent:
        if self._contexts is None:
            self._contexts = ExitStack()
            self._contexts.enter_context(self._model.generation_context())
        return super().__next__()

    def _end(self, *, keeps_prefixes: bool = True) -> None:
        super()._end(keeps_prefixes=keeps_prefixes)
        if self._contexts is not None:
            self._contexts.close()

    def locate_non_finite(self, tokens: Sequence[int]) -> str | None:
        with self._engine.exclusive():
            return first_non_finite(self._model, tokens)
