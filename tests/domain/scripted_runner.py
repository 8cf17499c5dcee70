"""A model runner whose tokens are a function of all earlier ones, and which checks how it is used."""

from collections.abc import Callable, Hashable, Sequence
from random import Random
from typing import Self

import attrs

from litgpt.domain.constraints.token_constraint import allow
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
    constraint = request.constraint.copy() if request.constraint is not None else None
    while len(tokens) < min(len(request.prompt) + request.max_new_tokens, context):
        forced = constraint.forced() if constraint is not None else ()
        tokens.append(forced[0] if forced else next_token(tokens))
        if constraint is not None:
            constraint.advance(tokens[-1])
        if tokens[-1] in request.stop_token_ids or (constraint is not None and constraint.is_finished):
            break
    return tokens[len(request.prompt) :]


@attrs.define
class ScriptedConstraint:
    """Forces runs of tokens, which are a function of `seed` and the tokens before, up to `length` tokens."""

    seed: int
    length: int
    tokens: list[int] = attrs.field(factory=list)

    @property
    def is_finished(self) -> bool:
        return len(self.tokens) >= self.length

    def mask(self) -> bytes:
        return allow(b"\0", self.forced()[:1]) if self.forced() else b"\xff"

    def forced(self) -> list[int]:
        random = Random(repr((self.seed, len(self.tokens) // 10)))  # noqa: S311 - not cryptography
        run = random.choices(range(VOCABULARY), k=random.randrange(10))
        return run[len(self.tokens) % 10 :]

    def advance(self, token: int) -> None:
        self.tokens.append(token)

    def copy(self) -> Self:
        return attrs.evolve(self, tokens=list(self.tokens))


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
    shares_pages: bool = True
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

    def adapter(self, name: str | None) -> str | None:
        return name

    def sharing_key(self, length: int, adapter: str | None = None) -> Hashable:
        del length
        return (adapter,)

    def sampler_state(self, request: GenerationRequest) -> SamplerState:
        return SamplerState(request.sampling_params, lambda: 0, constraint=request.constraint)

    def new_sequence(self, length: int) -> ScriptedSequence:
        del length
        return self._open([])

    def fork(self, sequence: ScriptedSequence, length: int, max_length: int) -> ScriptedSequence:
        assert not sequence.is_released
        assert max_length >= length
        assert 0 < length <= len(sequence.tokens)
        assert self.can_truncate or length == len(sequence.tokens)
        return self._open(sequence.tokens[:length])

    def step(
        self,
        batch: Sequence[tuple[ScriptedSequence, Sequence[int]]],
        positions: Sequence[range] | None = None,
        adapters: Sequence[str | None] | None = None,
    ) -> list[int]:
        del adapters
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
        return [self._constrained(logits[row], state) for row, state in zip(rows, states, strict=True)]

    def _constrained(self, token: int, state: SamplerState) -> int:
        mask = b"\xff" if state.constraint is None else state.constraint.mask()
        assert isinstance(mask, bytes)
        return token if mask[0] >> token & 1 else (mask[0] & -mask[0]).bit_length() - 1

    def log_probabilities(self, logits: list[int], rows: Sequence[int], tokens: Sequence[int]) -> list[float]:
        return [
            self.logprob if logits[row] == token else -2.0 for row, token in zip(rows, tokens, strict=True)
        ]

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
