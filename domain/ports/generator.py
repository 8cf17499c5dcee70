"""The port Generator: tokens after prompts of token ids, and what the model makes of given tokens."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from litgpt.domain.generation.request import GenerationRequest, TokenEvent

if TYPE_CHECKING:
    from litgpt.domain.beam_search.request import Beam, BeamSearchRequest
    from litgpt.domain.scheduling.engine import Engine
    from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores


class Generation(Iterator[TokenEvent], Protocol):
    """Iterator over the tokens of one or several answers as they are generated."""

    def cancel(self, index: int) -> None:
        """End one answer: it gets no more events, not even a final one."""
        ...

    def close(self) -> None:
        """End all answers and free their memory; also called when the iterator is garbage-collected."""
        ...


class Generator(Protocol):
    """Generates tokens from prompts, with one event per token.

    The decoding loop, its tensors, the KV cache and the random state are inside the adapter. Two generations
    are independent and may be interleaved.
    """

    @property
    def context(self) -> int:
        """The maximum number of tokens of a prompt and its answer together."""
        ...

    def max_decode_speed(self) -> float | None:
        """Measure the tokens per second of one answer at which reading the weights takes all the bandwidth.

        No decoding of one answer without speculation is faster. None: it cannot be measured.
        """
        ...

    def open(self) -> "Engine":
        """Return an engine of its own, for a program that adds requests and computes the steps itself.

        Requests of `generate` run in another engine, which all threads share.
        """
        ...

    def generate(self, requests: Iterable[GenerationRequest | None]) -> Generation:
        """Generate answers for a batch of prompts of any lengths; batching does not change the answers.

        Tokens that the prompts have in common with each other or with earlier ones are not computed again;
        `cached_tokens` of an event counts them. The first event may take long (prefill). The last event of
        each request carries a `finish_reason`; a request has at most `max_new_tokens` events, and none if
        that is 0.

        Args:
            requests: The prompts and their sampling parameters. An iterator may have any number of
                them: it is read as earlier requests finish, a few hundred ahead at most. Its next value is
                None while no further request is ready: it is asked again after the next step, or not at all
                if no request is running.

        Raises:
            PromptTooLong: A prompt fills the context; raised by the call, not by the first event. For an
                iterator, this error and those of the iterator itself are raised after the events of the
                earlier requests.
        """
        ...

    def score(self, requests: "Sequence[ScoringRequest]") -> "list[TokenScores]":
        """Return the log-probabilities of given tokens, in the order of the requests.

        Requests are sorted by length and computed in batches, and a prefix that several of them have in
        common once; neither changes the result. The head is applied to a bounded number of positions at a
        time.

        Raises:
            TextTooLong: A sequence is longer than the context; raised before anything is computed.
            InvalidArgument: A token id is outside the vocabulary, or no adapter has the name of a request's.
            UnsupportedOperation: The adapter of a request cannot be used for single requests.
            NonFiniteLogits: The logits of a sequence are NaN or infinite.
        """
        ...

    def embed(self, sequences: Sequence[Sequence[int]], pooling: "Pooling") -> "list[array[float]]":
        """Return the pooled hidden states after the final norm of each sequence, (D,) in float32.

        Sequences are computed in batches, which does not change the result.

        Raises:
            TextTooLong: A sequence is longer than the context; raised before anything is computed.
            InvalidArgument: A sequence is empty, or a token id is outside the vocabulary.
        """
        ...

    def beam_search(self, requests: "Sequence[BeamSearchRequest]") -> "list[list[Beam]]":
        """Return the best sequences after each prompt, the best first.

        The sequences of all prompts are computed in one batch, which does not change the result. Among equal
        scores, the lowest token id counts as the best.

        Raises:
            PromptTooLong: A prompt fills the context; raised before anything is computed.
            InvalidArgument: A token id is outside the vocabulary.
            NonFiniteLogits: The logits after a sequence are NaN or infinite.
        """
        ...
