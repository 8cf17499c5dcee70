"""A fake Generator with scripted answers, without torch."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import attrs

from litgpt.application.concurrency.shared_engine import EngineStream, SharedEngine
from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
from litgpt.domain.beam_search.run import run_beam_search
from litgpt.domain.generation.batching import check_prompt, checked_requests, requested_adapters
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.lora.config import require_adapter
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.domain.scheduling.step_costs import StepCosts
from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores, check_sequences

VOCAB_SIZE = 2**20
"""Larger than that of the tokenizers of the tests."""


@attrs.define
class ScriptedGenerator:
    """Answers every prompt with the same token ids, repeated up to the maximum length.

    Attributes:
        decode_limit: The result of `max_decode_speed`.
        adapters: The scripts of the adapters that a request may name.
        requests: All requests so far.
    """

    script: Sequence[int]
    context: int = 1024
    decode_limit: float | None = None
    adapters: Mapping[str, Sequence[int]] = attrs.field(factory=dict)
    requests: list[GenerationRequest] = attrs.field(factory=list, init=False)
    _engine: SharedEngine = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._engine = SharedEngine(self.open())

    def max_decode_speed(self) -> float | None:
        return self.decode_limit

    def open(self) -> Engine:
        return Engine(ScriptedRunner(self), self.context)

    def generate(self, requests: Iterable[GenerationRequest | None]) -> EngineStream:
        requests = checked_requests(requests, self.context, VOCAB_SIZE)
        for adapter in requested_adapters(requests):
            require_adapter(adapter, [*self.adapters], "adapter")
        if isinstance(requests, Iterator):
            return EngineStream(self._engine, map(self._record, requests))
        return EngineStream(self._engine, [*map(self._record, requests)])

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        """Return -1 for the tokens of the script, as if each were the likeliest, and -2 for other tokens."""
        check_sequences([request.ids for request in requests], self.context, VOCAB_SIZE)
        return [self._scores(request.ids[request.start :], request.top_logprobs) for request in requests]

    def _scores(self, tokens: Sequence[int], top_logprobs: int) -> TokenScores:
        likeliest = dict.fromkeys(self.script, -1.0)
        top = tuple(
            dict(islice((({token: -1.0} if token in likeliest else {}) | likeliest).items(), top_logprobs))
            for token in tokens
        )
        return TokenScores(
            tuple(likeliest.get(token, -2.0) for token in tokens),
            tuple(token in likeliest for token in tokens),
            top if top_logprobs else None,
        )

    def embed(self, sequences: Sequence[Sequence[int]], pooling: Pooling) -> "list[array[float]]":
        """Return the last token, or the mean of all tokens, and 1: embeddings of two values."""
        check_sequences(sequences, self.context, VOCAB_SIZE)
        pooled = [ids[-1] if pooling == "last" else sum(ids) / len(ids) for ids in sequences]
        return [array("f", (value, 1.0)) for value in pooled]

    def beam_search(self, requests: Sequence[BeamSearchRequest]) -> list[list[Beam]]:
        """Search with a log-probability of -1 for the next token of the script, and -2 for other tokens."""
        for request in requests:
            check_prompt(request.prompt, self.context, VOCAB_SIZE)
        return run_beam_search(_ScriptedBeams(self.script), requests, self.context)

    def _record(self, request: GenerationRequest | None) -> GenerationRequest | None:
        if request is not None:
            self.requests.append(request)
        return request


@attrs.define
class _ScriptedBeams:
    script: Sequence[int]
    num_tokens: int = 0

    def start(
        self, prompts: Sequence[Sequence[int]], lengths: Sequence[int], count: int
    ) -> list[Mapping[int, float]]:
        del lengths
        self.num_tokens = 0
        return [self._likeliest(count)] * len(prompts)

    def step(self, parents: Sequence[int], tokens: Sequence[int], count: int) -> list[Mapping[int, float]]:
        del tokens
        self.num_tokens += 1
        return [self._likeliest(count)] * len(parents)

    def close(self) -> None:
        """Do nothing: a fake caches nothing."""

    def _likeliest(self, count: int) -> dict[int, float]:
        others = (token for token in range(VOCAB_SIZE) if token not in self.script)
        likeliest = self.script[self.num_tokens % len(self.script)]
        return {likeliest: -1.0, **dict.fromkeys(islice(others, count - 1), -2.0)}


@attrs.define(eq=False)
class ScriptedLogits:
    """The length of a sequence, its script, and the token that was sampled after it."""

    length: int
    script: Sequence[int]
    token: int = -1


@attrs.define(eq=False)
class ScriptedRunner:
    """A model runner whose sequences are lists of token ids; it samples the script of a generator."""

    generator: ScriptedGenerator
    limits: StepLimits = attrs.field(factory=lambda: StepLimits(max_draft_tokens=0))
    num_pages: int = 2**20
    page_size: int = 16
    shares_pages: bool = True
    max_cached_pages: int = 2**10
    can_truncate: bool = True
    costs: StepCosts = attrs.field(factory=StepCosts, init=False)

    def adapter(self, name: str | None) -> Sequence[int]:
        if name is None:
            return self.generator.script
        require_adapter(name, [*self.generator.adapters], "adapter")
        return self.generator.adapters[name]

    def sharing_key(self, length: int, adapter: Sequence[int] = ()) -> tuple[int, ...]:  # noqa: ARG002
        return () if adapter is self.generator.script else tuple(adapter)  # a script may have no end

    def sampler_state(self, request: GenerationRequest) -> SamplerState:
        return SamplerState(request.sampling_params, lambda: 0, request.prompt)

    def new_sequence(self, length: int) -> list[int]:  # noqa: ARG002 - of no effect
        return []

    def fork(self, sequence: list[int], length: int, max_length: int) -> list[int]:  # noqa: ARG002
        return sequence[:length]

    def step(
        self,
        batch: Sequence[tuple[list[int], Sequence[int]]],
        positions: Sequence[range] | None = None,  # noqa: ARG002 - for drafts
        adapters: Sequence[Sequence[int]] | None = None,
    ) -> list[ScriptedLogits]:
        scripts = [self.generator.script] * len(batch) if adapters is None else adapters
        for sequence, tokens in batch:
            sequence.extend(tokens)
        rows = zip(batch, scripts, strict=True)
        return [ScriptedLogits(len(sequence), script) for (sequence, _), script in rows]

    def truncate(self, sequence: list[int], length: int) -> None:
        del sequence[length:]

    def sample(
        self, logits: Sequence[ScriptedLogits], rows: Sequence[int], states: Sequence[SamplerState]
    ) -> list[int]:
        for row, state in zip(rows, states, strict=True):
            script = logits[row].script
            logits[row].token = script[(logits[row].length - len(state.prompt)) % len(script)]
        return [logits[row].token for row in rows]

    def log_probabilities(
        self, logits: Sequence[ScriptedLogits], rows: Sequence[int], tokens: Sequence[int]
    ) -> list[float]:
        del logits, tokens
        return [-1.0] * len(rows)

    def top_log_probabilities(
        self, logits: Sequence[ScriptedLogits], rows: Sequence[int], counts: Sequence[int]
    ) -> list[dict[int, float] | None]:
        return [{logits[row].token: -1.0} if count else None for row, count in zip(rows, counts, strict=True)]

    def release(self, sequence: list[int]) -> None:
        sequence.clear()
