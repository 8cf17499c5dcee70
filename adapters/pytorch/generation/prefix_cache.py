"""The prefix cache: the KV cache of the previous prompt, reused for its longest common prefix."""

from collections.abc import Callable, Sequence

import attrs

from litgpt.adapters.pytorch.model.kv_cache import KVCache
from litgpt.domain.common_prefix import common_prefix_length
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr


@attrs.define(eq=False)
class TorchPrefixCache:
    """A KV cache with one row, and a token id for each of its entries.

    Attributes:
        weights_version: Identifies the weights that the entries were computed with.
        in_use: Whether a generation is using the cache.
    """

    cache: KVCache | None = None
    tokens: list[int] = attrs.field(factory=list)
    weights_version: object = None
    in_use: bool = attrs.field(default=False, init=False)

    __repr__ = brief_repr

    def fork(self) -> "TorchPrefixCache":
        return TorchPrefixCache(
            self.cache.copy() if self.cache is not None else None, list(self.tokens), self.weights_version
        )

    def close(self) -> None:
        self.cache, self.tokens = None, []

    def match(
        self,
        prompt: Sequence[int],
        max_length: int,
        ropes: Callable[[int], object],
        length: int,
        weights_version: object = None,
    ) -> tuple[KVCache | None, int]:
        """Return the cache truncated to the common prefix with a prompt, and the length of that prefix.

        The prefix excludes the last token of the prompt, whose logits are needed. `ropes` returns the RoPE of
        each layer for a maximum sequence length: if it differs from the RoPE of the cached entries, they
        cannot be reused.

        Raises:
            InvalidArgument: Another generation is using this cache.
        """
        if self.in_use:
            raise InvalidArgument(
                "prefix", self, "unused: another generation is using it. Close that generation or call fork()"
            )
        common = common_prefix_length(self.tokens, list(prompt[:-1]))
        is_valid = self.cache is not None and ropes(self.cache.lengths[0]) == ropes(length)
        is_valid = is_valid and self.weights_version == weights_version
        self.weights_version = weights_version
        if self.cache is None or not is_valid or not self.cache.truncate(common):
            self.close()
            return None, 0
        self.cache.set_limits(max_length=max_length, lengths=[length])
        self.tokens = self.tokens[:common]
        return self.cache, common
