"""The port Generator: continue these prompts."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from litgpt.domain.generation.request import GenerationRequest, TokenEvent


class PrefixCache(Protocol):
    """What a generator has computed for the beginning of one text, kept for the next time it is asked."""

    @property
    def tokens(self) -> Sequence[int]:
        """The ids for which the work is done; a prompt that begins with some of them starts behind those."""
        ...

    def fork(self) -> "PrefixCache":
        """Return a copy that goes its own way."""
        ...

    def close(self) -> None:
        """Free the memory. The cache is empty afterwards and may be used again."""
        ...


class Generation(Iterator[TokenEvent], Protocol):
    """The tokens of one or several answers as they come."""

    def cancel(self, index: int) -> None:
        """End one answer: no more events come for it, not even a last one."""
        ...

    def close(self) -> None:
        """End all answers and free their memory; also done when the iterator is dropped."""
        ...


class Generator(Protocol):
    """Continues prompts, one event per token.

    The loop over tokens is behind this port: tensors, the KV cache and the random state stay there. Two
    generations share nothing and may be interleaved.
    """

    @property
    def context(self) -> int:
        """How many tokens a prompt and its answer may have together."""
        ...

    def prefix_cache(self) -> PrefixCache:
        """Return an empty cache, for a caller whose prompts will begin with what was said before."""
        ...

    def generate(
        self, requests: Sequence[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> Generation:
        """Continue prompts of any lengths, several at once; each gets the answer that it would get alone.

        The first event may take long (prefill). Each request ends with an event that carries a
        `finish_reason`; at most `max_new_tokens` events come for it, and none if that is 0.

        Args:
            requests: One or several.
            prefix: What was computed before. Only for a single request: what its prompt shares with
                `prefix.tokens` is not computed again, and the prompt and the answer are added.

        Raises:
            PromptTooLong: A prompt leaves no room for an answer. Raised at once, not at the first event.

        """
        ...
