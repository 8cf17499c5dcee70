"""What all generators do with their requests before they compute."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from litgpt.domain.errors import InvalidArgument, PromptTooLong
from litgpt.domain.generation.request import GenerationRequest

MAX_SEQUENCES = 256
"""Prompts that are computed together, as vLLM's `max_num_seqs`. The next ones follow when some of these are
finished. It bounds the memory for KV caches and logits."""


def check_prompts(requests: Sequence[GenerationRequest], context: int, vocab_size: int) -> None:
    """Check the prompts of one call, and the token ids of its sampling parameters.

    Raises:
        PromptTooLong: A prompt fills the context.
        InvalidArgument: A token id is outside the vocabulary.
    """
    for request in requests:
        check_prompt(request.prompt, context, vocab_size)
        request.sampling_params.check_vocabulary(vocab_size)


def check_prompt(prompt: Sequence[int], context: int, vocab_size: int) -> None:
    """Check the tokens of a prompt; it raises the errors of `check_prompts`."""
    if len(prompt) >= context:
        raise PromptTooLong(len(prompt), context)
    for bad in (min(prompt), max(prompt)):
        if not 0 <= bad < vocab_size:
            raise InvalidArgument("prompt", bad, f"made of token ids from 0 to {vocab_size - 1}")


def checked_requests(
    requests: Iterable[GenerationRequest | None], context: int, vocab_size: int
) -> Iterable[GenerationRequest | None]:
    """Check the requests of a list now, and each request of an iterator when it is taken.

    It raises the errors of `check_prompts`.
    """
    if not isinstance(requests, Iterator):
        complete = [it for it in requests if it is not None]
        check_prompts(complete, context, vocab_size)
        return complete
    return _check_each(requests, context, vocab_size)


def _check_each(
    requests: Iterator[GenerationRequest | None], context: int, vocab_size: int
) -> Iterator[GenerationRequest | None]:
    for request in requests:
        check_prompts([] if request is None else [request], context, vocab_size)
        yield request


def requested_adapters(requests: Iterable[GenerationRequest | None]) -> Iterable[str]:
    """Return the names of the adapters of a list, to be checked before anything is computed.

    Those of an iterator are checked when its requests are taken.
    """
    if isinstance(requests, Iterator):
        return ()
    return {it.adapter for it in requests if it is not None and it.adapter is not None}


def numbered_requests(
    requests: Iterable[GenerationRequest | None],
) -> Iterator[tuple[int, GenerationRequest] | None]:
    """Yield requests for at least one token with their numbers; None is passed on, and has no number."""
    numbers = count()
    for request in requests:
        if request is None:
            yield None
        else:
            number = next(numbers)
            if request.max_new_tokens > 0:
                yield number, request


def count_requests(requests: Iterable[GenerationRequest | None]) -> int | None:
    """Return the number of requests; None for an iterator."""
    return len(requests) if isinstance(requests, Sequence) else None
