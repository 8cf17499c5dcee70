"""What all generators do with their prompts before they compute: checks, batches and common prefixes."""

from collections.abc import Iterable, Iterator, Sequence

from litgpt.domain.errors import InvalidArgument, PromptTooLong
from litgpt.domain.generation.request import GenerationRequest

MAX_SEQUENCES = 256
"""Prompts of one call that are computed together, as vLLM's `max_num_seqs`. The next ones follow when these
are finished, in the torch engine when some of them are. It bounds the memory for KV caches and logits."""


def check_prompts(requests: Sequence[GenerationRequest], context: int, vocab_size: int) -> None:
    """Check the prompts of one call, and the token ids of its sampling parameters.

    Raises:
        PromptTooLong: A prompt fills the context.
        InvalidArgument: A token id is outside the vocabulary.
    """
    for request in requests:
        if len(request.prompt) >= context:
            raise PromptTooLong(len(request.prompt), context)
        for bad in (min(request.prompt), max(request.prompt)):
            if not 0 <= bad < vocab_size:
                raise InvalidArgument("prompt", bad, f"made of token ids from 0 to {vocab_size - 1}")
        request.sampling_params.check_vocabulary(vocab_size)


def checked_requests(
    requests: Iterable[GenerationRequest], context: int, vocab_size: int
) -> Iterable[GenerationRequest]:
    """Check the requests of a list now, and each request of an iterator when it is taken.

    It raises the errors of `check_prompts`.
    """
    if not isinstance(requests, Iterator):
        requests = list(requests)
        check_prompts(requests, context, vocab_size)
        return requests
    return _check_each(requests, context, vocab_size)


def _check_each(
    requests: Iterator[GenerationRequest], context: int, vocab_size: int
) -> Iterator[GenerationRequest]:
    for request in requests:
        check_prompts([request], context, vocab_size)
        yield request


def count_requests(requests: Iterable[GenerationRequest]) -> int | None:
    """Return the number of requests; None for an iterator."""
    return len(requests) if isinstance(requests, Sequence) else None


def common_prefix_length(cached: Sequence[int], prompt: Sequence[int]) -> int:
    """Return the length of the common prefix, without the last token of the prompt.

    The logits after that token are needed, so it must be computed.
    """
    common = 0
    for known, token in zip(cached, prompt[:-1], strict=False):
        if known != token:
            break
        common += 1
    return common
