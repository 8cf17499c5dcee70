"""A model runner whose tokens are a function of all earlier ones, and which checks how it is used."""

from collections.abc import Callable, Hashable, Sequence
from random import Random

import attrs

from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.domain.scheduling.step_costs import StepCosts

VOCABULARY = 7


def next_token(tokens: Sequence[int]) -> int:
    return Random(repr(tokens)).randrange(VOCABULARY)  # noqa: S311 - not cryptography


def next_token_of_draft(accuracy: float) -> Callable[[Sequence[int]], int]:
    """Return the function of a draft model that is right in a share of the cases; it has one token more."""

    def next_of(tokens: Sequence[int]) -> int:
        is_right = Random(f"draft {tokens}").random() < accuracy  # noqa: S311 - not cryptography
        return next_token(tokens) if is_right else sum(tokens) % (VOCABULARY + 1)

    return next_of


def expected_answer(request: GenerationRequest, context: int) -> list[int]:
    tokens = list(request.prompt)
    while len(tokens) < min(len(request.prompt) + request.max_new_tokens, context):
        tokens.append(next_token(tokens))
        if tokens[-1] in request.stop_token_ids:
            break
    return tokens[len(request.prompt) :]


@attrs.define(eq=False)
class ScriptedSequence:
    tokens: list[int] = attrs.field(factory=list)
    is_released: bool = False


@attrs.define(eq=False)
class ScriptedRunner:
    """Attributes: `steps` has the number of tokens of each sequence in each step, `failures` the numbers of
    the steps that run out of memory, `is_interrupted` whether the next step raises KeyboardInterrupt,
    `logprob` that of each token, `seconds` the time of a step, and `seconds_per_token` that of each token."""

    num_pages: int = 1000
    page_size: int = 4
    max_cached_pages: int = 100
    can_truncate: bool = True
    limits: StepLimits = attrs.field(
        factory=lambda: StepLimits(max_sequences=8, prefill_tokens=64, shared_step_tokens=4)
    )
    failures: set[int] = attrs.field(factory=set)
    is_interrupted: bool = False
    next_token: Callable[[Sequence[int]], int] = next_token
    sequences: list[ScriptedSequence] = attrs.field(factory=list, init=False)
    steps: list[list[int]] = attrs.field(factory=list, init=False)
    seconds: float = 1.0
    seconds_per_token: float = 0.0
    logprob: float = -1.0
    costs: StepCosts = attrs.field(factory=StepCosts)

    @property
    def num_open(self) -> int:
        return sum(not sequence.is_released for sequence in self.sequences)

    def sharing_key(self, length: int) -> Hashable:
        del length
        return ()

    def sampler_state(self, request: GenerationRequest) -> SamplerState:
        return SamplerState(request.sampling_params, lambda: 0)

    def new_sequence(self, length: int) -> ScriptedSequence:
        del length
        return self._open([])

    def fork(self, sequence: ScriptedSequence, length: int) -> ScriptedSequence:
        assert not sequence.is_released
        assert 0 < length <= len(sequence.tokens)
        assert self.can_truncate or length == len(sequence.tokens)
        return self._open(sequence.tokens[:length])

    def step(
        self,
        batch: Sequence[tuple[ScriptedSequence, Sequence[int]]],
        positions: Sequence[range] | None = None,
    ) -> list[int]:
        if self.is_interrupted:
            self.is_interrupted = False
            raise KeyboardInterrupt
        self.steps.append([len(tokens) for _, tokens in batch])
        self.costs.add(sum(self.steps[-1]), self.seconds + self.seconds_per_token * sum(self.steps[-1]))
        if len(self.steps) in self.failures:
            raise InsufficientSpace("The KV cache", "no memory is left.")
        assert len({id(sequence) for sequence, _ in batch}) == len(batch)
        assert len(batch) <= self.limits.max_sequences
        logits = []
        for at, (sequence, tokens) in enumerate(batch):
            assert tokens
            assert not sequence.is_released
            for position, token in enumerate(tokens):
                sequence.tokens.append(token)
                if position in (positions[at] if positions else (len(tokens) - 1,)):
                    logits.append(self.next_token(sequence.tokens))
        return logits

    def truncate(self, sequence: ScriptedSequence, length: int) -> None:
        assert self.can_truncate
        assert not sequence.is_released
        assert 0 < length < len(sequence.tokens)
        del sequence.tokens[length:]

    def sample(self, logits: list[int], rows: Sequence[int], states: Sequence[SamplerState]) -> list[int]:
        assert len(rows) == len(states)
        return [logits[row] for row in rows]

    def log_probabilities(self, logits: list[int], rows: Sequence[int], tokens: Sequence[int]) -> list[float]:
        assert [logits[row] for row in rows] == tokens
        return [self.logprob] * len(rows)

    def top_log_probabilities(
        self, logits: list[int], rows: Sequence[int], counts: Sequence[int]
    ) -> list[None]:
        del logits, counts
        return [None] * len(rows)

    def release(self, sequence: ScriptedSequence) -> None:
        assert not sequence.is_released
        sequence.is_released = True

    def _open(self, tokens: list[int]) -> ScriptedSequence:
        self.sequences.append(ScriptedSequence(tokens))
        return self.sequences[-1]
