"""The prefix cache: the sequence of the previous prompt, reused for its longest common prefix."""

import weakref
from collections.abc import Sequence

import attrs

from litgpt.adapters.native.model import NativeModel, NativeSequence
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.batching import common_prefix_length

MIN_SNAPSHOT = 32
"""The tokens that a snapshot has to save: computing fewer takes about as long as the step that ends at it."""


@attrs.define(eq=False)
class NativePrefixCache:
    """A sequence, and the token id of each of its KV cache entries; forks share the entries.

    Truncation can restore neither recurrent states nor pages behind sliding windows. A prefix that was needed
    and could not be restored, such as a system prompt, is kept as a snapshot when it is computed again.

    Attributes:
        model: The model that computed the entries.
        snapshot: The snapshot; it has none itself.
        in_use: Whether a generation is using the cache.
    """

    sequence: NativeSequence | None = None
    tokens: list[int] = attrs.field(factory=list)
    model: "weakref.ref[NativeModel] | None" = None
    snapshot: "NativePrefixCache | None" = None
    in_use: bool = attrs.field(default=False, init=False)
    _snapshot_length: int = attrs.field(default=0, init=False)

    __repr__ = brief_repr

    def fork(self) -> "NativePrefixCache":
        sequence = None if self.sequence is None else self.sequence.fork()
        snapshot = None if self.snapshot is None else self.snapshot.fork()
        return NativePrefixCache(sequence, list(self.tokens), self.model, snapshot)

    def close(self) -> None:
        for part in (self.sequence, self.snapshot):
            if part is not None:
                part.close()
        self.sequence, self.tokens, self.snapshot = None, [], None

    def match(self, model: NativeModel, prompt: Sequence[int], length: int) -> NativeSequence:
        """Return the sequence truncated to the common prefix with a prompt, or one that has less of it.

        The prefix excludes the last token of the prompt, whose logits are needed. The cached entries cannot
        be used if their RoPE was for another length than that of the prompt and its answer, `length`.

        Raises:
            InvalidArgument: Another generation is using this cache.
        """
        if self.in_use:
            raise InvalidArgument(
                "prefix", self, "unused: another generation is using it. Close that generation or call fork()"
            )
        if self.model is None or self.model() is not model:
            self.close()
            self.model = weakref.ref(model)
        rope, self._snapshot_length = model.rope_values(length), 0
        common, snapshot = common_prefix_length(self.tokens, prompt), self._usable_snapshot(prompt, rope)
        can_truncate = True
        if self.sequence is not None:
            is_longest = snapshot is None or common >= len(snapshot.tokens)
            if (
                is_longest
                and self.sequence.rope == rope
                and (can_truncate := _truncate(self.sequence, common))
            ):
                self.tokens = self.tokens[:common]
                return self.sequence
            self.sequence.close()
            self.sequence, self.tokens = None, []
        if snapshot is None or snapshot.sequence is None:
            self.sequence, self.tokens = model.new_sequence(length), []
        else:
            self.sequence, self.tokens = snapshot.sequence.fork(), list(snapshot.tokens)
        if not can_truncate and common >= len(self.tokens) + MIN_SNAPSHOT:
            self._snapshot_length = common
        return self.sequence

    def next_tokens(self, pending: Sequence[int]) -> Sequence[int]:
        """Return the tokens to compute in one step, which ends where a snapshot is to be taken."""
        left = self._snapshot_length - len(self.tokens)
        return pending[:left] if left > 0 else pending

    def append(self, tokens: Sequence[int]) -> None:
        """Add the tokens that were computed."""
        self.tokens += tokens
        if self.sequence is not None and len(self.tokens) == self._snapshot_length:
            if self.snapshot is not None:
                self.snapshot.close()
            self.snapshot = NativePrefixCache(self.sequence.fork(), list(self.tokens), self.model)

    def _usable_snapshot(self, prompt: Sequence[int], rope: tuple[float, ...]) -> "NativePrefixCache | None":
        """Return the snapshot if all of its tokens begin the prompt."""
        it = self.snapshot
        if it is None or it.sequence is None or it.sequence.rope != rope:
            return None
        return it if common_prefix_length(it.tokens, prompt) == len(it.tokens) else None


def _truncate(sequence: NativeSequence, length: int) -> bool:
    """Truncate a sequence; return False if a state or entries would be needed that no longer exist."""
    try:
        sequence.truncate(length)
    except UnsupportedOperation:
        return False
    return True
