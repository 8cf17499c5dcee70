"""The generation loop: steps of the model, and sampling, until all prompts of a list are answered."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.generation.model_runner import TorchModelRunner
from litgpt.adapters.pytorch.generation.non_finite import first_non_finite
from litgpt.adapters.pytorch.generation.prefix_cache import TorchPrefixCache
from litgpt.adapters.pytorch.generation.running_batch import TorchSequence
from litgpt.adapters.pytorch.generation.sampler import log_probabilities, sample, top_log_probabilities
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.request import FinishReason, GenerationRequest, TokenEvent
from litgpt.domain.generation.sampler_state import SamplerState

# A prefill pass reads all weights, so prompts wait until one in so many rows of the batch is free.
_ADMISSION_DIVISOR = 16


@attrs.define(eq=False)
class GeneratedSequence:
    """A request with its random state and generated tokens; `remaining` tokens may still be generated.

    Attributes:
        new_tokens: The tokens that are not computed: of the prompt, or the last one generated.
    """

    index: int
    request: GenerationRequest
    remaining: int
    sampler_state: SamplerState
    sequence: TorchSequence
    new_tokens: Sequence[int]
    output_ids: list[int] = attrs.field(factory=list)


@attrs.define(eq=False)
class GenerationLoop:
    """Computes `max_sequences` sequences at a time; waiting ones follow, in order, as others finish.

    Attributes:
        waiting: The sequences that are not running yet; None: the next one is not ready.
        cancelled: The indices of cancelled requests, which may grow.
        num_prompts: The number of requests, for errors; None: unknown.
        prefix: The prefix cache of the only sequence, if there is one.
    """

    runner: TorchModelRunner
    waiting: Iterator[GeneratedSequence | None]
    cancelled: set[int]
    num_prompts: int | None
    max_sequences: int
    prefix: TorchPrefixCache | None
    running: list[GeneratedSequence] = attrs.field(factory=list, init=False)

    def events(self) -> Iterator[TokenEvent]:
        with self.runner.model.generation_context():
            while True:
                self._admit()
                if not self.running:
                    return
                logits = self._step()
                tokens = self._sample(logits)
                logprobs: Sequence[float | None] = [None] * len(tokens)
                if any(row.request.logprobs for row in self.running):
                    logprobs = log_probabilities(logits, tokens)
                counts = [row.request.top_logprobs for row in self.running]
                top_logprobs = top_log_probabilities(logits, counts)
                for row, token, logprob, top in zip(
                    self.running, tokens, logprobs, top_logprobs, strict=True
                ):
                    if row.index not in self.cancelled:
                        yield _event(row, token, logprob, top)
                self._release_finished()

    def _admit(self) -> None:
        """Take waiting sequences, ordered as the model runner does: from the longest prompt on."""
        free = self.max_sequences - len(self.running)
        if free * _ADMISSION_DIVISOR >= self.max_sequences:
            ready = takewhile(lambda row: row is not None, self.waiting)
            admitted = islice((row for row in ready if row and row.index not in self.cancelled), free)
            self.running += sorted(admitted, key=lambda row: -len(row.new_tokens))

    def _step(self) -> Tensor:
        """Return the logits (B, V) after the new tokens of each sequence."""
        try:
            logits = self.runner.step([(row.sequence, row.new_tokens) for row in self.running])
        except BaseException:
            if self.prefix is not None:
                self.prefix.close()  # the layers may have different numbers of entries
            raise
        if self.prefix is not None:
            self.prefix.tokens += self.running[0].new_tokens
        return logits

    def _sample(self, logits: Tensor) -> list[int]:
        try:
            return sample(logits, [row.sampler_state for row in self.running])
        except NonFiniteLogits as error:
            if self.prefix is not None:
                self.prefix.close()  # its keys and values are not finite
            raise self._locate_non_finite(error) from None

    def _release_finished(self) -> None:
        running = []
        for row in self.running:
            if row.remaining and row.index not in self.cancelled:
                running.append(row)
            else:
                self.runner.release(row.sequence)
                self.cancelled.discard(row.index)
        self.running = running

    def _locate_non_finite(self, error: NonFiniteLogits) -> NonFiniteLogits:
        """Return the error with the prompts' indices and the module where values stop being finite."""
        bad = [self.running[at] for at in error.rows]
        where = first_non_finite(self.runner.model, [*bad[0].request.prompt, *bad[0].output_ids])
        return NonFiniteLogits(sorted(row.index for row in bad), self.num_prompts, where)


def _event(
    row: GeneratedSequence, token: int, logprob: float | None, top_logprobs: Mapping[int, float] | None
) -> TokenEvent:
    row.remaining -= 1
    row.output_ids.append(token)
    row.sampler_state.append(token)
    row.new_tokens = [token]
    reason: FinishReason | None = "length" if row.remaining == 0 else None
    if token in row.request.stop_token_ids or row.sampler_state.is_finished:
        row.remaining, reason = 0, "stop"
    return TokenEvent(row.index, token, logprob if row.request.logprobs else None, reason, top_logprobs)
