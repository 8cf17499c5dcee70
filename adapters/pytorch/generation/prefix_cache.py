"""What was computed for the beginning of one text, kept for the next time."""

from collections.abc import Callable, Sequence

import attrs

from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr


@attrs.define(eq=False)
class TorchPrefixCache:
    """A KV cache and the ids that it was computed for.

    Attributes:
        cache: One row; None before anything was computed.
        tokens: The ids, as many as the cache has slots.
        weights_version: What stands for the network's weights when it was computed.

    """

    cache: KVCache | None = None
    tokens: list[int] = attrs.field(factory=list)
    weights_version: object = None
    in_use: bool = attrs.field(default=False, init=False)

    __repr__ = brief_repr

    def fork(self) -> "TorchPrefixCache":
        """Return a copy that goes its own way."""
        return TorchPrefixCache(
            self.cache.copy() if self.cache is not None else None, list(self.tokens), self.weights_version
        )

    def close(self) -> None:
        """Free the memory."""
        self.cache, self.tokens = None, []

    def match(
        self,
        prompt: Sequence[int],
        max_length: int,
        ropes: Callable[[int], object],
        length: int,
        weights_version: object = None,
    ) -> tuple[KVCache | None, int]:
        """Return what there is for the beginning of `prompt`, and how many of its tokens that is.

        At least one token of the prompt is left to compute, for its logits are wanted.

        Args:
            prompt: The ids.
            max_length: How many slots there will ever be.
            ropes: How a text of some length is rotated. One that may become longer than before may be
                rotated in another way, and then nothing of before is of use.
            length: How long this text may become.
            weights_version: What stands for the network's weights now.

        Raises:
            BadArgument: Another generation is using this cache.

        """
        if self.in_use:
            raise InvalidArgument(
                "prefix", self, "free: another answer is still using it. Close that one or fork()"
            )
        common = 0
        for mine, theirs in zip(self.tokens, prompt[:-1], strict=False):
            if mine != theirs:
                break
            common += 1
        same = self.cache is not None and ropes(self.cache.lengths[0]) == ropes(length)
        same = same and self.weights_version == weights_version
        self.weights_version = weights_version
        if self.cache is None or not same or not self.cache.truncate(common):
            self.close()
            return None, 0
        self.cache.set_limits(max_length=max_length, lengths=[length])
        self.tokens = self.tokens[:common]
        return self.cache, common
