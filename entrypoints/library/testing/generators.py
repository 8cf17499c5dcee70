"""A fake Generator with scripted answers, without torch."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import attrs

from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
from litgpt.domain.beam_search.run import run_beam_search
from litgpt.domain.errors import InvalidArgument, PromptTooLong
from litgpt.domain.generation.batching import MAX_SEQUENCES, check_prompt
from litgpt.domain.generation.request import FinishReason, GenerationRequest, TokenEvent
from litgpt.domain.ports import PrefixCache
from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores, check_sequences

VOCAB_SIZE = 2**20
"""Larger than that of the tokenizers of the tests."""


@attrs.define(eq=False)
class ScriptedPrefixCache:
    """A prefix cache that records token ids."""

    tokens: list[int] = attrs.field(factory=list)
    busy: bool = False

    def fork(self) -> "ScriptedPrefixCache":
        return ScriptedPrefixCache(list(self.tokens))

    def close(self) -> None:
        self.tokens = []


@attrs.define
class ScriptedGenerator:
    """Answers every prompt with the same token ids, repeated up to the maximum length.

    `requests` lists all requests, `reused` the number of cached prompt tokens per generation with a prefix.
    `decode_limit` is the result of `max_decode_speed`.
    """

    script: Sequence[int]
    context: int = 1024
    decode_limit: float | None = None
    requests: list[GenerationRequest] = attrs.field(factory=list, init=False)
    reused: list[int] = attrs.field(factory=list, init=False)

    def max_decode_speed(self) -> float | None:
        return self.decode_limit

    def prefix_cache(self) -> ScriptedPrefixCache:
        return ScriptedPrefixCache()

    def generate(
        self, requests: Iterable[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> "ScriptedGeneration":
        if not isinstance(requests, Iterator):
            requests = list(requests)
            for request in requests:
                self._check(request)
            if prefix is not None:
                self._take(requests, prefix)
        cache = prefix if isinstance(prefix, ScriptedPrefixCache) else None
        return ScriptedGeneration(self.script, map(self._record, requests), self.context, cache)

    def _record(self, request: GenerationRequest) -> GenerationRequest:
        self._check(request)
        self.requests.append(request)
        return request

    def _check(self, request: GenerationRequest) -> None:
        if len(request.prompt) >= self.context:
            raise PromptTooLong(len(request.prompt), self.context)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        """Return -1 for the tokens of the script, as if each were the likeliest, and -2 for other tokens."""
        check_sequences([request.ids for request in requests], self.context, VOCAB_SIZE)
        return [self._scores(request.ids[request.start :], request.top_logprobs) for request in requests]

    def _scores(self, tokens: Sequence[int], top_logprobs: int) -> TokenScores:
        likeliest = dict.fromkeys(self.script, -1.0)
        top = dict(islice(likeliest.items(), top_logprobs))
        return TokenScores(
            tuple(likeliest.get(token, -2.0) for token in tokens),
            tuple(token in likeliest for token in tokens),
            (top,) * len(tokens) if top_logprobs else None,
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

    def _take(self, requests: Sequence[GenerationRequest], prefix: PrefixCache) -> None:
        if not isinstance(prefix, ScriptedPrefixCache) or len(requests) != 1:
            raise InvalidArgument("prefix", prefix, "a cache of this generator's, for exactly one prompt")
        if prefix.busy:
            raise InvalidArgument(
                "prefix",
                prefix,
                "unused: another generation is using it. Close that generation or call fork()",
            )
        prompt, common = requests[0].prompt, 0
        while common < min(len(prompt) - 1, len(prefix.tokens)) and prompt[common] == prefix.tokens[common]:
            common += 1
        self.reused.append(common)
        prefix.tokens, prefix.busy = list(prompt[:common]), True


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
        """Do nothing: there are no caches."""

    def _likeliest(self, count: int) -> dict[int, float]:
        others = (token for token in range(VOCAB_SIZE) if token not in self.script)
        likeliest = self.script[self.num_tokens % len(self.script)]
        return {likeliest: -1.0, **dict.fromkeys(islice(others, count - 1), -2.0)}


@attrs.define
class _Running:
    """The requests of a generation that were taken and are not finished, and the cancelled ones."""

    waiting: Iterator[tuple[int, GenerationRequest]]
    requests: dict[int, GenerationRequest] = attrs.field(factory=dict)
    lengths: dict[int, int] = attrs.field(factory=dict)
    cancelled: set[int] = attrs.field(factory=set)

    def take(self) -> None:
        for index, request in islice(self.waiting, MAX_SEQUENCES - len(self.requests)):
            if request.max_new_tokens > 0 and index not in self.cancelled:
                self.requests[index], self.lengths[index] = request, 0

    def end(self, index: int) -> None:
        self.requests.pop(index, None)
        self.lengths.pop(index, None)


class ScriptedGeneration(Iterator[TokenEvent]):
    """The token events of a batch, created by `ScriptedGenerator.generate`."""

    def __init__(
        self,
        script: Sequence[int],
        requests: Iterable[GenerationRequest],
        context: int,
        prefix: ScriptedPrefixCache | None,
    ) -> None:
        self._prefix = prefix
        self._running = _Running(enumerate(requests))
        # The event iterator does not reference this object, so that dropping the object ends the generation.
        self._events = _run(script, self._running, context, prefix)

    def __next__(self) -> TokenEvent:
        return next(self._events)

    def cancel(self, index: int) -> None:
        self._running.cancelled.add(index)
        self._running.end(index)

    def close(self) -> None:
        self._running.waiting = iter(())
        self._running.requests.clear()
        if self._prefix is not None:
            self._prefix.busy = False
            self._prefix = None

    def __del__(self) -> None:
        self.close()


def _run(
    script: Sequence[int], running: _Running, context: int, prefix: ScriptedPrefixCache | None
) -> Iterator[TokenEvent]:
    running.take()
    while running.requests:
        for index, request in list(running.requests.items()):
            if index not in running.requests:  # cancelled meanwhile
                continue
            if prefix is not None and not running.lengths[index]:
                prefix.tokens = list(request.prompt)
            event = _event(index, script, request, running, context)
            yield event
            if prefix is not None and index in running.requests:  # not the last token
                prefix.tokens.append(event.token)
        running.take()
    if prefix is not None:
        prefix.busy = False


def _event(
    index: int, script: Sequence[int], request: GenerationRequest, running: _Running, context: int
) -> TokenEvent:
    length = running.lengths[index]
    token, running.lengths[index] = script[length % len(script)], length + 1
    longest = min(request.max_new_tokens, context - len(request.prompt))
    reason: FinishReason | None = "length" if length + 1 == longest else None
    reason = "stop" if token in request.stop_token_ids else reason
    if reason is not None:
        running.end(index)
    top = {token: -1.0} if request.top_logprobs else None
    return TokenEvent(index, token, -1.0 if request.logprobs else None, reason, top)
