"""The prefix cache: the sequence of the previous prompt, reused for its longest common prefix."""

import weakref
from collections.abc import Sequence

import attrs

from litgpt.adapters.native.model import NativeModel, NativeSequence
from litgpt.domain.errors import InvalidArgument, UnsupportedOperation
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.batching import common_prefix_length


@attrs.define(eq=False)
class NativePrefixCache:
    """A sequence, and the token id of each of its KV cache entries; forks share the entries.

    Attributes:
        model: The model that computed the entries.
        in_use: Whether a generation is using the cache.
    """

    sequence: NativeSequence | None = None
    tokens: list[int] = attrs.field(factory=list)
    model: "weakref.ref[NativeModel] | None" = None
    in_use: bool = attrs.field(default=False, init=False)

    __repr__ = brief_repr

    def fork(self) -> "NativePrefixCache":
        sequence = None if self.sequence is None else self.sequence.fork()
        return NativePrefixCache(sequence, list(self.tokens), self.model)

    def close(self) -> None:
        if self.sequence is not None:
            self.sequence.close()
        self.sequence, self.tokens = None, []

    def match(self, model: NativeModel, prompt: Sequence[int], length: int) -> NativeSequence:
        """Return the sequence truncated to the common prefix with a prompt, or an empty sequence.

        The prefix excludes the last token of the prompt, whose logits are needed. The cached entries cannot
        be used if their RoPE was for another length than that of the prompt and its answer, `length`.

        Raises:
            InvalidArgument: Another generation is using this cache.
        """
        if self.in_use:
            raise InvalidArgument(
                "prefix", self, "unused: another generation is using it. Close that generation or call fork()"
            )
        common = common_prefix_length(self.tokens, prompt)
        is_valid = self.model is not None and self.model() is model
        if self.sequence is not None and self.sequence.rope != model.rope_values(length):
            is_valid = False
        if self.sequence is None or not is_valid or not _truncate(self.sequence, common):
            self.close()
            self.sequence, self.model = model.new_sequence(length), weakref.ref(model)
        self.tokens = self.tokens[:common]
        return self.sequence


def _truncate(sequence: NativeSequence, length: int) -> bool:
    """Truncate a sequence; return False if entries were needed that have left a sliding window."""
    try:
        sequence.truncate(length)
    except UnsupportedOperation:
        return False
    return True
