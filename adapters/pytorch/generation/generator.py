"""The generator of the torch engine: what a list of prompts needs before the first step."""

import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Literal

import attrs

from litgpt.adapters.pytorch.generation.generation_loop import GeneratedSequence, GenerationLoop
from litgpt.adapters.pytorch.generation.model_runner import TorchModelRunner
from litgpt.adapters.pytorch.generation.prefix_cache import TorchPrefixCache
from litgpt.adapters.pytorch.generation.scoring.beams import TorchBeams
from litgpt.adapters.pytorch.generation.scoring.embedding import embed
from litgpt.adapters.pytorch.generation.scoring.scorer import Scorer
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.adapters.pytorch.ops.tensor_versions import weights_version
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory
from litgpt.adapters.pytorch.runtime.random_seed import random_seed
from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
from litgpt.domain.beam_search.run import run_beam_search
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.batching import MAX_SEQUENCES, check_prompt, checked_requests, count_requests
from litgpt.domain.generation.event_stream import EventStream
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.model import RopeSpec
from litgpt.domain.ports.generator import PrefixCache
from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores, check_sequences

GENERATION = "Generating"


@attrs.frozen
class TorchGenerator:
    """Generates text with a GPT; stateless between calls. `kv_cache_size` is that of `Placement`."""

    model: GPT
    kv_cache_size: int | Literal["max"] | None = None

    @property
    def context(self) -> int:
        longest = self.model.architecture.context_length
        return min(longest, self.kv_cache_size) if isinstance(self.kv_cache_size, int) else longest

    def max_decode_speed(self) -> None:
        return None

    def prefix_cache(self) -> TorchPrefixCache:
        return TorchPrefixCache()

    def generate(
        self, requests: Iterable[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> "TorchGeneration":
        check_fork()
        requests = checked_requests(requests, self.context, self.model.architecture.vocab_size)
        if prefix is not None and not isinstance(prefix, TorchPrefixCache):
            raise InvalidArgument("prefix", prefix, "a prefix cache of this generator")
        if prefix is not None and count_requests(requests) != 1:
            raise InvalidArgument("prefix", prefix, "None if there is more than one prompt")
        runner = TorchModelRunner(self.model, None if self.kv_cache_size is None else self.context)
        waiting: Iterator[GeneratedSequence] = (
            self._sequence(runner, index, request, prefix)
            for index, request in enumerate(requests)
            if request.max_new_tokens > 0
        )
        if prefix is not None:
            with translate_out_of_memory(GENERATION):
                waiting = iter(list(waiting))  # the prefix cache is in use from now on
        loop = partial(
            GenerationLoop,
            runner,
            waiting,
            num_prompts=count_requests(requests),
            max_sequences=MAX_SEQUENCES,
            prefix=prefix,
        )
        return TorchGeneration(lambda cancelled: loop(cancelled=cancelled).events(), prefix)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        check_fork()
        check_sequences([it.ids for it in requests], self.context, self.model.architecture.vocab_size)
        with translate_out_of_memory("Scoring"), self.model.generation_context():
            return Scorer(self.model, requests, self._ropes).run()

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

    def _sequence(
        self,
        runner: TorchModelRunner,
        index: int,
        request: GenerationRequest,
        prefix: TorchPrefixCache | None,
    ) -> GeneratedSequence:
        length = min(len(request.prompt) + request.max_new_tokens, self.context)
        num_computed = 0
        if prefix is None:
            sequence = runner.new_sequence(length)
        else:
            cache, num_computed = self._prefix_cache(prefix, request.prompt, length)
            sequence = runner.resume(cache)
        return GeneratedSequence(
            index,
            request,
            length - len(request.prompt),
            SamplerState(
                self.model.synced_sampling(request.sampling_params),
                random_seed,
                request.prompt,
                request.stop_token_ids,
                request.constraint,
            ),
            sequence,
            request.prompt[num_computed:],
        )

    def _prefix_cache(
        self, prefix: TorchPrefixCache, prompt: Sequence[int], length: int
    ) -> tuple[KVCache, int]:
        """Return the KV cache for a prompt, and the number of tokens of it that are computed."""
        weights = weakref.ref(self.model), self.model.adapter, weights_version(self.model)
        cache, num_computed = prefix.match(prompt, self.context, self._ropes, length, weights)
        prefix.cache = cache or self.model.empty_cache(
            max_length=self.context, lengths=[length], fixed=self.kv_cache_size is not None
        )
        prefix.in_use = True
        return prefix.cache, num_computed

    def _ropes(self, tokens: int) -> tuple[RopeSpec | None, ...]:
        """Return the RoPE of each layer for a sequence of at most `tokens` tokens."""
        ropes = (layer.mixer.rope for layer in self.model.architecture.layers)
        return tuple(None if rope is None else rope.for_length(tokens) for rope in ropes)


class TorchGeneration(EventStream):
    """Iterator over the tokens of all answers, whose errors name the device that is out of memory."""

    def __next__(self) -> TokenEvent:
        with translate_out_of_memory(GENERATION):
            return super().__next__()
