"""What an engine needs of a model: sequences, steps and samples."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.scheduling.scheduler import StepLimits
from litgpt.domain.scheduling.step_costs import StepCosts

LogitsT = TypeVar("LogitsT")
"""The logits of a step, (R, V), on the device of the model runner."""


class ModelRunner(Protocol[LogitsT]):
    """Computes the steps that an engine schedules. `Any` stands for its sequences."""

    @property
    def limits(self) -> StepLimits: ...

    @property
    def costs(self) -> StepCosts:
        """The time of its steps, to which `step` adds; empty if it does not measure."""
        ...

    @property
    def num_pages(self) -> int:
        """The pages of `page_size` tokens that running sequences and cached prefixes may take."""
        ...

    @property
    def page_size(self) -> int: ...

    @property
    def shares_pages(self) -> bool:
        """Whether `fork` shares the pages of the other sequence; otherwise it copies."""
        ...

    @property
    def max_cached_pages(self) -> int:
        """The pages of cached prefixes; 0: `fork` is not supported."""
        ...

    @property
    def can_truncate(self) -> bool:
        """Whether `fork` returns a prefix of any length; otherwise only all tokens of a sequence."""
        ...

    def adapter(self, name: str | None) -> Any:
        """Return the adapter of this name, with which a sequence can be computed until it ends.

        None: the active adapter of the model, if there is one.

        Raises:
            InvalidArgument: No adapter has this name.
            UnsupportedOperation: It cannot be used for single sequences.
        """
        ...

    def sharing_key(self, length: int, adapter: Any = None) -> Hashable:
        """Return a key that sequences have in common if they can share a prefix; None: they cannot.

        Args:
            length: The largest number of tokens of the sequence.
            adapter: Its adapter. The key does not reference it, so that a prefix does not keep it in memory.
        """
        ...

    def sampler_state(self, request: GenerationRequest) -> SamplerState: ...

    def new_sequence(self, length: int) -> Any:
        """Return an empty sequence of at most `length` tokens."""
        ...

    def fork(self, sequence: Any, length: int, max_length: int) -> Any:
        """Return a sequence of the first `length` tokens of another, which may have `max_length`."""
        ...

    def step(
        self,
        batch: Sequence[tuple[Any, Sequence[int]]],
        positions: Sequence[range] | None = None,
        adapters: Sequence[Any] | None = None,
    ) -> LogitsT:
        """Append tokens to sequences and return logits, (R, V).

        Args:
            batch: Sequences and their new tokens.
            positions: For each sequence, the new tokens after which the logits are computed; None: the last.
            adapters: The adapter of each sequence, the same in all of its steps; None: `adapter(None)`.
        """
        ...

    def truncate(self, sequence: Any, length: int) -> None:
        """Remove the tokens from `length` on; called only if `can_truncate`."""
        ...

    def sample(self, logits: LogitsT, rows: Sequence[int], states: Sequence[SamplerState]) -> list[int]:
        """Return the next token of some rows of the logits."""
        ...

    def log_probabilities(
        self, logits: LogitsT, rows: Sequence[int], tokens: Sequence[int]
    ) -> list[float]: ...

    def top_log_probabilities(
        self, logits: LogitsT, rows: Sequence[int], counts: Sequence[int]
    ) -> Sequence[Mapping[int, float] | None]: ...

    def release(self, sequence: Any) -> None:
        """Free the KV cache of a sequence."""
        ...
