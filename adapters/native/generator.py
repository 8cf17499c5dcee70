"""The generation loop of the native engine: prefill, decode and sampling."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Literal

import attrs

from litgpt.adapters.native.model import NativeModel, NativeSequence
from litgpt.adapters.native.prefix_cache import NativePrefixCache
from litgpt.adapters.native.read_bandwidth import read_bandwidth
from litgpt.adapters.native.sampling.candidates import Logits
from litgpt.adapters.native.sampling.sampler import (
    log_probabilities,
    sample,
    top_log_probabilities,
)
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.batching import MAX_SEQUENCES, batches, check_prompts
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.event_stream import EventStream
from litgpt.domain.generation.request import FinishReason, GenerationRequest, TokenEvent
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.ports.generator import PrefixCache

PREFILL_CHUNK = 512
"""The tokens of one prefill step, of one or several prompts: enough to be compute-bound, few enough to keep
the activations in the processor's cache."""


@attrs.frozen
class NativeGenerator:
    """Generates text with a model of the engine; stateless between calls.

    `random_seed` returns the seed of a request without one. `kv_cache_size` is that of `Placement`; it limits
    the context, but no cache is allocated in advance.
    """

    model: NativeModel
    random_seed: Callable[[], int]
    kv_cache_size: int | Literal["max"] | None = None

    @property
    def context(self) -> int:
        longest = self.model.architecture.context_length
        return min(longest, self.kv_cache_size) if isinstance(self.kv_cache_size, int) else longest

    def max_decode_speed(self) -> float:
        return read_bandwidth() / self.model.bytes_per_token

    def prefix_cache(self) -> NativePrefixCache:
        return NativePrefixCache()

    def generate(
        self, requests: Sequence[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> EventStream:
        check_prompts(requests, self.context, self.model.architecture.vocab_size)
        if prefix is not None and not isinstance(prefix, NativePrefixCache):
            raise InvalidArgument("prefix", prefix, "a prefix cache of this generator")
        if prefix is not None and len(requests) != 1:
            raise InvalidArgument("prefix", prefix, "None if there is more than one prompt")
        groups = batches(requests, MAX_SEQUENCES)
        first = [self._rows(group, prefix) for group in groups[:1]]
        later = (self._rows(group, None) for group in groups[1:])
        rows, model = chain(first, later), self.model
        return EventStream(lambda cancelled: _events(model, rows, cancelled, len(requests)), prefix)

    def _rows(
        self, group: Sequence[tuple[int, GenerationRequest]], prefix: NativePrefixCache | None
    ) -> list["GeneratedSequence"]:
        rows = []
        for index, request in group:
            state = SamplerState(
                request.sampling_params, self.random_seed, request.prompt, request.stop_token_ids
            )
            remaining = min(request.max_new_tokens, self.context - len(request.prompt))
            length = len(request.prompt) + remaining
            if prefix is None:
                sequence, pending = self.model.new_sequence(length), request.prompt
            else:
                sequence = prefix.match(self.model, request.prompt, length)
                pending, prefix.in_use = request.prompt[len(prefix.tokens) :], True
            rows.append(GeneratedSequence(index, request, sequence, state, remaining, pending, prefix))
        return rows


@attrs.define(eq=False)
class GeneratedSequence:
    """A request, its KV cache and its random state.

    Attributes:
        remaining: The number of tokens that may still be generated.
        pending: The tokens that are not in the KV cache yet.
        prefix: The prefix cache that owns `sequence`, if there is one.
        is_decoding: Whether the prompt is computed.
    """

    index: int
    request: GenerationRequest
    sequence: NativeSequence
    sampler_state: SamplerState
    remaining: int
    pending: Sequence[int]
    prefix: NativePrefixCache | None = None
    is_decoding: bool = False

    def close(self) -> None:
        """Free the KV cache, unless it belongs to a prefix cache."""
        if self.prefix is None:
            self.sequence.close()


def _events(
    model: NativeModel, batches: Iterator[list[GeneratedSequence]], cancelled: set[int], num_prompts: int
) -> Iterator[TokenEvent]:
    for rows in batches:
        active = rows
        try:
            while active := [row for row in active if _is_active(row, cancelled)]:
                chunk = _next_chunk(active)
                logits = _step(model, chunk)
                complete = [at for at, (row, _) in enumerate(chunk) if not row.pending]
                yield from _sample(
                    logits if len(complete) == len(chunk) else logits[complete],
                    [chunk[at][0] for at in complete],
                    cancelled,
                    num_prompts,
                )
        finally:
            for row in rows:
                row.close()


def _is_active(row: GeneratedSequence, cancelled: set[int]) -> bool:
    """Return whether an answer continues; frees the KV cache of an answer that has ended."""
    if row.remaining and row.index not in cancelled:
        return True
    row.close()
    return False


def _next_chunk(rows: Sequence[GeneratedSequence]) -> list[tuple[GeneratedSequence, Sequence[int]]]:
    """Return the sequences of the next step with their new tokens.

    While prompts are not computed yet, a step consists of the next tokens of the first of these prompts;
    afterwards, of the last token of each answer.
    """
    prompts = [row for row in rows if not row.is_decoding]
    if not prompts:
        return [(row, row.pending) for row in rows]
    chunk, budget = [], PREFILL_CHUNK
    for row in prompts:
        if budget == 0:
            break
        tokens = (row.pending if row.prefix is None else row.prefix.next_tokens(row.pending))[:budget]
        chunk.append((row, tokens))
        budget -= len(tokens)
    return chunk


def _step(model: NativeModel, chunk: Sequence[tuple[GeneratedSequence, Sequence[int]]]) -> Logits:
    """Compute a step and return the logits (B, V) after the last token of each sequence."""
    logits = model.step([(row.sequence, tokens) for row, tokens in chunk])
    for row, tokens in chunk:
        row.pending = row.pending[len(tokens) :]
        if row.prefix is not None:
            row.prefix.append(tokens)
    return logits


def _sample(
    logits: Logits, rows: Sequence[GeneratedSequence], cancelled: set[int], num_prompts: int
) -> Iterator[TokenEvent]:
    if not rows:
        return
    try:
        tokens = sample(logits, [row.sampler_state for row in rows])
    except NonFiniteLogits as error:
        bad = [rows[at] for at in error.rows]
        for row in bad:
            if row.prefix is not None:
                row.prefix.close()  # its keys and values are not finite
        raise NonFiniteLogits(sorted(row.index for row in bad), num_prompts) from None
    logprobs: Sequence[float | None] = [None] * len(rows)
    if any(row.request.logprobs for row in rows):
        logprobs = log_probabilities(logits, tokens)
    top_logprobs = top_log_probabilities(logits, [row.request.top_logprobs for row in rows])
    for row, token, logprob, top in zip(rows, tokens, logprobs, top_logprobs, strict=True):
        if row.index not in cancelled:
            yield _event(row, token, logprob, top)


def _event(
    row: GeneratedSequence, token: int, logprob: float | None, top_logprobs: Mapping[int, float] | None
) -> TokenEvent:
    row.remaining -= 1
    row.pending, row.is_decoding = [token], True
    row.sampler_state.append(token)
    reason: FinishReason | None = "length" if row.remaining == 0 else None
    if token in row.request.stop_token_ids:
        row.remaining, reason = 0, "stop"
    return TokenEvent(row.index, token, logprob if row.request.logprobs else None, reason, top_logprobs)
