"""A fake Generator with scripted answers, without torch."""

from collections.abc import Iterator, Sequence
from itertools import cycle

import attrs

from litgpt.domain.errors import InvalidArgument, PromptTooLong
from litgpt.domain.generation.request import FinishReason, GenerationRequest, TokenEvent
from litgpt.domain.ports import PrefixCache
from litgpt.domain.scoring.request import ScoringRequest, TokenScores, check_sequences

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
        self, requests: Sequence[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> "ScriptedGeneration":
        for request in requests:
            if len(request.prompt) >= self.context:
                raise PromptTooLong(len(request.prompt), self.context)
        if prefix is not None:
            self._take(requests, prefix)
        self.requests += requests
        cache = prefix if isinstance(prefix, ScriptedPrefixCache) else None
        return ScriptedGeneration(self.script, requests, self.context, cache)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        """Return -1 for the tokens of the script, as if each were the likeliest, and -2 for other tokens."""
        check_sequences([request.ids for request in requests], self.context, VOCAB_SIZE)
        scored = [request.ids[request.start :] for request in requests]
        return [
            TokenScores(
                tuple(-1.0 if token in self.script else -2.0 for token in tokens),
                tuple(token in self.script for token in tokens),
            )
            for tokens in scored
        ]

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


class ScriptedGeneration(Iterator[TokenEvent]):
    """The token events of a batch, created by `ScriptedGenerator.generate`."""

    def __init__(
        self,
        script: Sequence[int],
        requests: Sequence[GenerationRequest],
        context: int,
        prefix: ScriptedPrefixCache | None,
    ) -> None:
        self._prefix = prefix
        self._left = {
            index: min(request.max_new_tokens, context - len(request.prompt))
            for index, request in enumerate(requests)
            if request.max_new_tokens > 0
        }
        # The event iterator does not reference this object, so that dropping the object ends the generation.
        self._events = _run(script, requests, self._left, prefix)

    def __next__(self) -> TokenEvent:
        return next(self._events)

    def cancel(self, index: int) -> None:
        self._left.pop(index, None)

    def close(self) -> None:
        self._left.clear()
        if self._prefix is not None:
            self._prefix.busy = False
            self._prefix = None

    def __del__(self) -> None:
        self.close()


def _run(
    script: Sequence[int],
    requests: Sequence[GenerationRequest],
    left: dict[int, int],
    prefix: ScriptedPrefixCache | None,
) -> Iterator[TokenEvent]:
    if prefix is not None:
        prefix.tokens = list(requests[0].prompt)
    for token in cycle(script) if left else ():
        for index in list(left):
            if index in left:
                yield _event(index, token, requests[index], left)
        if not left:
            break
        if prefix is not None:
            prefix.tokens.append(token)
    if prefix is not None:
        prefix.busy = False


def _event(index: int, token: int, request: GenerationRequest, left: dict[int, int]) -> TokenEvent:
    left[index] -= 1
    reason: FinishReason | None = "length" if left[index] == 0 else None
    reason = "stop" if token in request.stop_token_ids else reason
    if reason is not None:
        del left[index]
    top = {token: -1.0} if request.top_logprobs else None
    return TokenEvent(index, token, -1.0 if request.logprobs else None, reason, top)
