"""The tokens of a conversation, for engines that find the prefixes of prompts by themselves."""

from collections.abc import Iterable

import attrs

from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.batching import count_requests
from litgpt.domain.generation.request import GenerationRequest


@attrs.define(eq=False)
class CachedTokens:
    """Implements the port `PrefixCache`: the tokens of the last prompt and answer.

    Attributes:
        in_use: Whether a generation is using it.
    """

    tokens: list[int] = attrs.field(factory=list)
    in_use: bool = attrs.field(default=False, init=False)

    __repr__ = brief_repr

    def take(self, requests: Iterable[GenerationRequest | None]) -> None:
        """Begin a generation.

        Raises:
            InvalidArgument: There is not exactly one request, or another generation is using it.
        """
        if count_requests(requests) != 1:
            raise InvalidArgument("prefix", self, "None if there is more than one prompt")
        if self.in_use:
            raise InvalidArgument(
                "prefix", self, "unused: another generation is using it. Close that generation or call fork()"
            )
        self.in_use = True

    def fork(self) -> "CachedTokens":
        return CachedTokens(list(self.tokens))

    def close(self) -> None:
        self.tokens = []
