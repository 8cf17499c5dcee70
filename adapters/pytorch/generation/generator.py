"""The generation loop: prefill, decode, and sampling in PyTorch."""

import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Literal

import attrs

from litgpt.adapters.pytorch.generation.non_finite import first_non_finite
from litgpt.adapters.pytorch.generation.prefix_cache import TorchPrefixCache
from litgpt.adapters.pytorch.generation.running_batch import GeneratedSequence, RunningBatch
from litgpt.adapters.pytorch.generation.sampler import log_probabilities, sample, top_log_probabilities
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.adapters.pytorch.ops.tensor_versions import weights_version
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory
from litgpt.adapters.pytorch.runtime.random_seed import random_seed
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.batching import MAX_SEQUENCES, batches, check_prompts
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.event_stream import EventStream
from litgpt.domain.generation.request import FinishReason, GenerationRequest, TokenEvent
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.model import RopeSpec
from litgpt.domain.ports.generator import PrefixCache

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
        self, requests: Sequence[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> "TorchGeneration":
        check_fork()
        check_prompts(requests, self.context, self.model.architecture.vocab_size)
        if prefix is not None and not isinstance(prefix, TorchPrefixCache):
            raise InvalidArgument("prefix", prefix, "a prefix cache of this generator")
        if prefix is not None and len(requests) != 1:
            raise InvalidArgument("prefix", prefix, "None if there is more than one prompt")
        groups = batches(requests, MAX_SEQUENCES)
        with translate_out_of_memory(GENERATION):
            first = [self._batch(self._sequences(group), prefix) for group in groups[:1]]
        later = (self._batch(self._sequences(group), None) for group in groups[1:])
        rows, model = chain(first, later), self.model
        return TorchGeneration(lambda cancelled: _events(model, rows, cancelled, len(requests)), prefix)

    def _sequences(self, group: Sequence[tuple[int, GenerationRequest]]) -> list[GeneratedSequence]:
        """Return the requests of a batch, from the longest prompt to the shortest."""
        sequences = [
            GeneratedSequence(
                index,
                request,
                min(request.max_new_tokens, self.context - len(request.prompt)),
                SamplerState(
                    self.model.synced_sampling(request.sampling_params),
                    random_seed,
                    request.prompt,
                    request.stop_token_ids,
                ),
            )
            for index, request in group
        ]
        return sorted(sequences, key=lambda row: -len(row.request.prompt))

    def _batch(self, rows: list[GeneratedSequence], prefix: TorchPrefixCache | None) -> RunningBatch:
        longest = rows[0].request.prompt
        if prefix is not None:
            length = len(longest) + rows[0].remaining
            weights = weakref.ref(self.model), self.model.adapter, weights_version(self.model)
            cache, num_computed = prefix.match(longest, self.context, self._ropes, length, weights)
            prefix.cache = cache or self._make_cache(rows, self.context)
            prefix.in_use = True
            return RunningBatch(self.model, rows, prefix.cache, num_computed, prefix)
        if self.kv_cache_size is not None:
            return RunningBatch(self.model, rows, self._make_cache(rows, self.context))
        # No token attends to the last token of an answer, so it needs no slot.
        return RunningBatch(
            self.model, rows, self._make_cache(rows, len(longest) + max(row.remaining for row in rows) - 1)
        )

    def _ropes(self, tokens: int) -> list[RopeSpec | None]:
        """Return the RoPE of each layer for a sequence of at most `tokens` tokens."""
        ropes = (layer.mixer.rope for layer in self.model.architecture.layers)
        return [None if rope is None else rope.for_length(tokens) for rope in ropes]

    def _make_cache(self, rows: Sequence[GeneratedSequence], max_length: int) -> KVCache:
        longest = len(rows[0].request.prompt)
        return self.model.empty_cache(
            max_length=max_length,
            row_offsets=[longest - len(row.request.prompt) for row in rows],
            lengths=[len(row.request.prompt) + row.remaining for row in rows],
            fixed=self.kv_cache_size is not None,
        )


class TorchGeneration(EventStream):
    """Iterator over the tokens of all answers, whose errors name the device that is out of memory."""

    def __next__(self) -> TokenEvent:
        with translate_out_of_memory(GENERATION):
            return super().__next__()


def _events(
    model: GPT, batches: Iterator[RunningBatch], cancelled: set[int], num_prompts: int
) -> Iterator[TokenEvent]:
    with model.generation_context():
        for batch in batches:
            yield from _steps(batch, cancelled, num_prompts)
            del batch  # frees its KV cache before that of the next batch is allocated


def _steps(batch: RunningBatch, cancelled: set[int], num_prompts: int) -> Iterator[TokenEvent]:
    logits = batch.prefill()
    active = list(range(len(batch.sequences)))
    while True:
        rows = [batch.sequences[at] for at in active]
        active_logits = logits if len(active) == len(batch.sequences) else logits[active]
        try:
            tokens = sample(active_logits, [row.sampler_state for row in rows])
        except NonFiniteLogits as error:
            raise _locate_non_finite(error, batch, rows, num_prompts) from None
        logprobs: Sequence[float | None] = [None] * len(rows)
        if any(row.request.logprobs for row in rows):
            logprobs = log_probabilities(active_logits, tokens)
        top_logprobs = top_log_probabilities(active_logits, [row.request.top_logprobs for row in rows])
        for row, token, logprob, top in zip(rows, tokens, logprobs, top_logprobs, strict=True):
            if row.index not in cancelled:
                yield _event(row, token, logprob, top)
        last = dict(zip(active, tokens, strict=True))
        active = [
            at
            for at in active
            if batch.sequences[at].remaining and batch.sequences[at].index not in cancelled
        ]
        if not active:
            return
        if 4 * len(active) <= 3 * len(batch.sequences):
            # Dropping rows copies the cache, so a few finished rows stay in the batch.
            batch.retain(active)
            last = {new: last[old] for new, old in enumerate(active)}
            active = list(range(len(batch.sequences)))
        logits = batch.decode([last.get(at, 0) for at in range(len(batch.sequences))])


def _locate_non_finite(
    error: NonFiniteLogits, batch: RunningBatch, rows: Sequence[GeneratedSequence], num_prompts: int
) -> NonFiniteLogits:
    """Return the error with the indices of the prompts and the module where the values stop being finite."""
    if batch.prefix is not None:
        batch.prefix.close()  # its keys and values are not finite
    bad = [rows[at] for at in error.rows]
    where = first_non_finite(batch.model, [*bad[0].request.prompt, *bad[0].output_ids])
    return NonFiniteLogits(sorted(row.index for row in bad), num_prompts, where)


def _event(
    row: GeneratedSequence, token: int, logprob: float | None, top_logprobs: Mapping[int, float] | None
) -> TokenEvent:
    row.remaining -= 1
    row.output_ids.append(token)
    row.sampler_state.append(token)
    reason: FinishReason | None = "length" if row.remaining == 0 else None
    if token in row.request.stop_token_ids:
        row.remaining, reason = 0, "stop"
    return TokenEvent(row.index, token, logprob if row.request.logprobs else None, reason, top_logprobs)
