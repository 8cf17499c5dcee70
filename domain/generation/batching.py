"""What all generators do with their prompts before they compute: checks, batches and common prefixes."""

from collections.abc import Sequence

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
