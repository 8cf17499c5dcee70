"""What was computed for the beginning of one text, kept for the next time."""

from collections.abc import Sequence

import attrs

from litgpt.adapters.pytorch.cache import KVCache
from litgpt.domain.errors import BadArgument


@attrs.define(eq=False)
class TorchPrefixCache:
    """A KV cache and the ids that it was computed for.

    Attributes:
        cache: One row; None before anything was computed.
        tokens: The ids, as many as the cache has slots.

    """

    cache: KVCache | None = None
    tokens: list[int] = attrs.field(factory=list)
    busy: bool = attrs.field(default=False, init=False)

    def fork(self) -> "TorchPrefixCache":
        """Return a copy that goes its own way."""
        return TorchPrefixCache(self.cache.copy() if self.cache is not None else None, list(self.tokens))

    def close(self) -> None:
        """Free the memory."""
        self.cache, self.tokens = None, []

    def take(self, prompt: Sequence[int], limit: int) -> tuple[KVCache | None, int]:
        """Return what there is for the beginning of `prompt`, and how many of its tokens that is.

        At least one token of the prompt is left to compute, for its logits are wanted.

        Raises:
            BadArgument: Another generation is using this cache.

        """
        if self.busy:
            raise BadArgument(
                "prefix", self, "free: another answer is still using it. Close that one or fork()"
            )
        common = 0
        for mine, theirs in zip(self.tokens, prompt[:-1], strict=False):
            if mine != theirs:
                break
            common += 1
        if self.cache is None or not self.cache.truncate(common):
            self.close()
            return None, 0
        self.cache.limit = limit
        self.tokens = self.tokens[:common]
        return self.cache, common
